"""What the article says, claim by claim, and when we shall say that it holds.

Every claim is quoted in our translation (a listing by its decisive lines, in the names of this
course), with its place. What counts is said here, in conditions that a cell finds true or false.
Where all are met the claim holds; where some are, in part.
"""

from __future__ import annotations

from dataclasses import dataclass

ADDRESS = "https://www.cnblogs.com/LXP-Never/p/13951578.html"


@dataclass(frozen=True)
class Statement:
    """``quote``: in our translation. ``where``: in the article. ``conditions``: whole sentences
    that are true or false. ``lesson``: the notebook that goes into it. ``compares``: whether it
    compares sizes; then it can only hold for the nets that were compared."""

    where: str
    quote: str
    conditions: tuple[str, ...]
    lesson: str
    compares: bool = False


L1, L2, L3 = "01-autograd-in-five-moves", "02-strategy-1-retain-graph", "03-strategy-2-detach"
L4, L5, L7 = "04-strategy-3-generator-first", "05-compare", "07-dynamics"
RUNS_AND_MOVES = (
    "Two steps of the listing run without an error, with the torch of this lesson.",
    "They move both players.",
)

ARTICLE = {
    "C1": Statement(
        "What one has to know",
        "When backpropagation comes to this node, the gradient is not passed on from it to what "
        "stands before it.",
        ("After a backward, nothing before the detached tensor holds a gradient.",
         "Without detach it does."),
        L1,
    ),
    "C2": Statement(
        "Strategy 1, first paragraph below the listing",
        "It computes not only the discriminator's gradient but the generator's too, although "
        "optimizer_D.step() updates the discriminator alone.",
        ("d_loss.backward writes gradients of G.", "No optimizer step uses them."),
        L2,
    ),
    "C3": Statement(
        "Strategy 1, the same paragraph",
        "So the generator's gradients must be cleared first, lest what came back from the "
        "discriminator's loss affect them.",
        ("With that zero_grad left out, G holds another gradient (off by more than 1 %).",),
        L2,
    ),
    "C4": Statement(
        "Strategy 1, second paragraph",
        "From noise to output there is one forward and there are two backwards, so the first needs "
        "backward(retain_graph=True).",
        ("Without it the second backward raises.",
         "With it the second backward runs, where no step stands between the two."),
        L2,
    ),
    "C5": Statement(
        "Strategy 1, second paragraph",
        "The discriminator's gradients are computed once more; the next step first sets them to 0.",
        ("g_loss.backward writes gradients of D.",
         "After D's next zero_grad, to None or to zeros, D holds none, or nothing but 0."),
        L2,
    ),
    "C6": Statement(
        "Strategy 1, the listing, in the names of this course",
        "d_loss.backward(retain_graph=True), opt_d.step(), ..., g_loss.backward(), opt_g.step()",
        RUNS_AND_MOVES,
        L2,
    ),
    "C7": Statement(
        "Strategy 2, first paragraph",
        "This strategy computes the discriminator's gradient twice and the generator's once.",
        ("In the S2 of this course, D receives gradient in two backward calls.",
         "G receives gradient in one."),
        L3,
    ),
    "C8": Statement(
        "Strategy 2, the listing, in the names of this course",
        "pred_fake, pred_real = D(G(noise).detach()), D(real), ..., "
        "g_loss = loss(pred_fake, ones), g_loss.backward()",
        RUNS_AND_MOVES,
        L3,
    ),
    "C9": Statement(
        "Strategy 2, last sentence before the listing",
        "The drawback: the generator's graph has to be kept until the discriminator is updated, "
        "and is then released.",
        ("In the S2 of this course, G's graph holds bytes while D is updated.",
         "Then it is released: once D is updated, before G's own backward, none are held."),
        L3,
    ),
    "C10": Statement(
        "Strategy 3, in the listing and below it",
        "The way back leads through the discriminator, so its parameters get gradients too, "
        "though this step must not update it.",
        ("g_loss.backward writes gradients of D.", "No optimizer step uses them."),
        L4,
    ),
    "C11": Statement(
        "Strategy 3, second paragraph below the listing",
        "(In fact it would not be passed on any further, for the generator's graph was released "
        "after the first backward.)",
        ("Without detach, G receives nothing from d_loss.", "The step runs all the same."),
        L4,
    ),
    "C12": Statement(
        "Strategy 3, last paragraph",
        "The generator's output passes the discriminator twice and gives the same output. "
        "Obviously that is superfluous.",
        ("The fake passes D twice.",
         "In train mode the outputs agree for a D of linear layers.",
         "They agree with each of BatchNorm, dropout and spectral norm in D as well.",
         "For linear layers one pass is enough: S1 (as repaired) ends at the same weights."),
        L4,
    ),
    "C13": Statement(
        "Summary, on the third listing",
        "The second time a new graph comes into being (but a smaller one than the first).",
        ("What the fake's part of d_loss keeps (not the real) is less than what g_loss kept.",),
        L4,
        compares=True,
    ),
    "C14": Statement(
        "Summary",
        "One computes the generator's gradient once more, the other a forward of the "
        "discriminator. So the two differ little.",
        ("S1 walks G once more than S3, and S3 runs D forward once more than S1.",
         "Their FLOPs differ by less than 10 %, for each of the three pairs of lesson 05."),
        L5,
    ),
    "C15": Statement(
        "Summary",
        "If the discriminator is more complex than the generator, use the first strategy; if it "
        "is simpler, use the third.",
        ("As D grows, S1 overtakes S3 (in FLOPs), and only once.",
         "A D that needs 1.25 times G's forward is complex enough for S1 to be the cheaper one."),
        L5,
    ),
    "C16": Statement(
        "Strategy 3, third paragraph, and the summary",
        "Nor need a graph be kept on purpose, which would take up memory that is not needed.",
        ("At its worst moment the graph of S1 keeps more bytes than that of S3, in each pair.",
         "So it is for all that is allocated.",
         "More is allocated than in S2 too, which keeps no graph on purpose.",
         "The graph of S1 keeps more bytes than that of S2, too."),
        L5,
        compares=True,
    ),
    "C17": Statement(
        "Summary, last paragraph",
        "All in all, strategy 3 is best, strategy 2 second, strategy 1 worst (worst in computing "
        "the generator's gradient once more).",
        ("FLOPs: S3 < S2 < S1, for each of the three pairs of lesson 05.",
         "Bytes allocated at the worst moment: S3 <= S2 < S1, for each of them.",
         "Beyond cost, on the Dirac-GAN: S3 ends nearer to rest than S2.",
         "Trained, as lesson 07 judges: S3 ends ahead of S2 in most of the 7 settings."),
        L7,
    ),
    "C18": Statement(
        "Summary, before the last paragraph",
        "It always feels odd: the generator needs an accurate loss and gradient from the "
        "discriminator. Or else does it not update blindly?",
        ("In S3, G learns from a D that has not learnt from this batch; in S2 from one that has.",
         "On the ring, S3's D pushes G less to where an accurate D would than one step later.",
         "There two more steps of D before each of G bring S3 more good samples.",
         "It matters: digits, lr 2e-3: old and new D give G gradients of median cosine below 0.5."),
        L7,
    ),
    "C19": Statement(
        "Summary, last sentence",
        "(Computing the generator's gradient once more usually costs more than one more forward "
        "of the discriminator.) So detach is quite necessary after all.",
        ("Where a fake is made anew for G, leaving detach out changes no weight.",
         "It costs more FLOPs there.",
         "Work is the reason in S2 too: without detach it runs, and only costs more."),
        L3,
    ),
    "C20": Statement(
        "Before the strategies",
        "First train the discriminator, then the generator: this is the algorithm of the original "
        "paper.",
        ("In Algorithm 1 of the paper, as written down in this cell, D steps first, then G.",
         "S2, which trains in that order, makes as many fakes in a step as the algorithm."),
        L3,
    ),
    "C21": Statement(
        "Summary",
        "Usually the discriminator is simpler than the generator.",
        ("D's forward needs fewer FLOPs than G's: tiny pair, digits, DCGAN.",
         "Usually: so it is in more than half of our pairs, those of lesson 05 included."),
        L5,
        compares=True,
    ),
    "C22": Statement(
        "Summary, last paragraph, in brackets",
        "Computing the generator's gradient once more usually costs more than computing the "
        "discriminator's forward once more.",
        ("G's backward needs more FLOPs than D's forward: tiny pair, digits, DCGAN.",
         "Usually: so it is in more than half of our pairs, those of lesson 05 included."),
        L5,
        compares=True,
    ),
}  # fmt: skip
