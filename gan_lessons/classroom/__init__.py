"""What a lesson puts in front of people: questions to predict, exercises that check themselves."""
