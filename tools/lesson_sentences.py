"""What cells of the lessons have to show, so that the sentences beside them hold.

Lesson -> cell id -> patterns, each of which has to be found in what the cell shows (in this order).
"""

from __future__ import annotations

import re
from typing import Any

SENTENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "01-autograd-in-five-moves": {
        "7c956493": (
            r"d = 8,  e = 8,  a\.grad = 1\.0,  b\.grad = None",
        ),  # "as if nothing had been"
        "788b97e7": (  # "passes the weight by", and who remembers
            r"SGD +cleared to None +0\.80 -> 0\.80\n",
            r"SGD +cleared to tensor\(0\.\) +0\.80 -> 0\.80\n",
            r"momentum +cleared to None +0\.80 -> 0\.80\n",
            r"momentum +cleared to tensor\(0\.\) +0\.80 -> 0\.62\n",
            r"Adam +cleared to None +0\.90 -> 0\.90\n",
            r"Adam +cleared to tensor\(0\.\) +0\.90 -> 0\.8\d\n",
        ),
        "05638de7": (r"difference: \d\.\de-1[5-9]\n",),
        "b020010d": (r"second time", r"modified by an inplace operation"),
        "5a287934": (r"AsStrided|TBackward", r"opt_d\.step\(\)` has rewritten it"),
        # "Some boxes are left out": as many as torchviz has of the two kinds
        "ba59b04f": (r"left out in ours: 16 boxes", r"these are 8 and 8 in torchviz's"),
        "db710490": (r"alike: +True\n", r"the same again: +True\n", r"still the same: +True"),
        "d444ef68": (r"freed: +\{'G': 0, 'D': 8\}", r"received: \{'G': 0, 'D': 4\}"),
    },
    "02-strategy-1-retain-graph": {
        "e115746c": (r"⊕",),  # "D steps on the sum of both losses (⊕)"
        "5aeaaac6": (r"before any backward, after d_loss", r"at most "),
        "279bc2b0": (r"✓ holds.*after the next zero_grad D holds 0",),
        # "Above 2/3 ... G is pushed to make worse fakes"; below it both push the right way
        "f300784a": (
            r"right .* up\n",
            r"forgotten .* up\n",
            r"right .* up\n",
            r"forgotten .* down",
        ),
        "876b2402": (r"AsStrided|TBackward",),  # "AsStrided stands for a view of a tensor"
        "92d92ae4": (  # "nearer to each true gradient than they lie to each other"
            r"lr 0\.01 +0\.[1-9]\d +0\.[01]\d +-0\.\d\d\n",
            r"lr 0\.001 +0\.9\d +0\.9\d +0\.9\d\n",
        ),
        # "most of its length", and each change by itself makes it less
        "13cf16d9": (r"lr 0\.01: .*median 0\.[89]", r"lr 0\.001: .*median 0\.[0-3]"),
        "7e3859db": (r"first +the.*True\n", r"changes +the.*True\n", r"repaired +the.*False\n"),
        "cdb891ab": (r"bit for bit: True",),  # the third repair
    },
    "03-strategy-2-detach": {
        "5424d839": (
            r"both at once 1\d\d\.\d\d, answered [01]\.\d\d\n",
        ),  # "of which one runs away"
        "68663e7f": (r"new D: .* True, cosine 1\.0000\n", r"old D: .* False"),
        "f10b7ac4": (r"G: 4 .* 4 used, 0 in vain\n", r"D: 4 .* 0 used, 4 in vain\n"),
        "f87f238f": (  # "the calmest curve belongs to a loop in which G is dead"
            r"right .*±0\.[1-9]\d\d nats .*False\n",
            r"2a copies .*True\n",
            r"2b earlier .*±0\.0\d\d nats .*True\n",
        ),
        "43102f6a": (r"3 detached .*True\n", r"✗ does not hold"),
        "15ea8ee2": (r"second_forward .*True, norm ratio 1\.00\n", r"False, norm ratio 0\.5"),
        "7fc2e709": (  # "Cleared to zeros, the two dead loops look alive to 'is None'"
            r"to zeros second_forward +None: 0 +None or zeros: 0\n",
            r"to zeros still_detached +None: 0 +None or zeros: 6\n",
            r"to zeros backward_earlier +None: 0 +None or zeros: 6\n",
        ),
        "8f27ab90": (r"bit for bit: 6 of 6\n", r"written: 0 with detach, 6 without"),
        "a0e5aa3b": (  # "costs no more than detach", "The other two ways pay"
            r"second_forward +36\.8 MFLOPs +same weights: True\n",
            r"only_d +36\.8 MFLOPs +same weights: True\n",
            r"retained +4\d\.\d MFLOPs +same weights: True\n",
        ),
        "48a5e68d": (r"in part.* [1-9][\d,]+ bytes held after opt_d.step\(\), 0 after g_loss",),
        "9ac1e9b6": (r"0\.405 nats; g_loss of 2b in the last step: 0\.4[01]\d",),
        "90c06587": (r"C20 ± in part", r"✓ In Algorithm 1", r"2 there, 1 in S2"),
        "1401ea76": (r"✓ Where a fake", r"✓ It costs more", r"✗ Work is", r"raises"),
        "cfc2aaca": (r"S2, k = 1, the same .*e-0[678]\n", r"new noise .*e-0[12]\n", r"k = 2.*e-01"),
        "0f5e5db1": (r"into 0 parameters of G\n", r"into 0 parameters of D"),
    },
    "04-strategy-3-generator-first": {
        "4cdae8cd": (r"detach +G learned from D: 1", r"generator_first +G .* D: 0 +D .* of G: 0"),
        "c71d94f3": (*[r"as at the start: True\n(.*written: D 6, G 0\n){2}"] * 3,),  # "a dead G"
        "8082372f": (r"✓ Without detach, G", r"✗ The step runs", r"G receives: nothing; it raises"),
        "79ac6849": (r"detach .*'G': False", r"generator_first .*'G': True, 'D': True"),
        "358c54d4": (r"retain_graph: True\n", r"detach: False"),  # "pixel for pixel"
        "d806d230": (r"per step: 3\n", r"per step: 2\n", r"train mode.*: 0\n", r"eval.*: 0\.\d"),
        # the two counts of one graph agree, and "so by a hair"
        "929979b9": (r"behind g_loss (\d+\.\d) KiB; in the chart, after D\(fake\): \1 KiB",),
        "3adc6103": (r"D 512 wide", r"1,0\d\d\.\d KiB", r"G 512 wide"),
        "67ea07d5": (r"✓ holds",),
        # "differ most at the very start"
        "98c8dc55": (r"after +0 steps: median cosine 0\.8\d", r"after 100 .* 0\.9\d, lowest"),
        "c4a2f9d0": (r"too early +D steps on \['d_loss\.backward\(\)', 'g_loss\.backward\(\)'\]",),
        "6c609db8": (  # "D believes the fakes more than before"
            r"before the step .*fake\) 0\.49\d\d\n",
            r"in between +D.*fake\) 0\.4\d\d\d\n",
            r"too early .*fake\) 0\.50",
        ),
        "8ca1f08c": (r"✓ The fake", r"✓ In train", r"✗ They agree", r"BatchNorm 0, dropout 0\.\d"),
        "32f5d9bd": (r"bit for bit: True",),
        "d6f6b8a3": (  # which survives a fake changed in place
            r"s1 raises: .*inplace operation\n",
            r"s2 raises: .*inplace operation\n",
            r"s3 runs\n",
        ),
    },
    "05-compare": {
        "ee30d8b3": (r"= 1\.1\d : 1\.00 : 1\n", r"1\.5\d : 1\.00 : 1\n", r"0\.9\d : 1\.00 : 1\n"),
        "19736703": (*[r"equal: True\n"] * 9,),
        "d3e8f2a1": (r"G 128, D 128 +9%", r"G 256, D 64 +\d%", r"G 64, D 512 +1[01]%"),
        "1860f4c9": (r"✓ S1 walks", r"✗ Their FLOPs"),
        "82a69e7c": (r"✓ As D grows", r"✗ A D that", r"needs 2\.\d\d times"),
        "72ce18b1": (r"✓ D's forward", r"✓ Usually", r"DCGAN 1\.0\d", r"G 64, D 512 0\.0\d"),
        "ab63663a": (r"✓ G's backward", r"✓ Usually", r"G 64, D 512 0\.0\d"),
        "8983807a": (r"✓ At its worst", r"✓ So it is"),
        "d52d8031": (
            r"FLOPs.* in 0 of 3 pairs; S2 and S3 tie in 3, S1 is the cheapest with G 64, D 512\n",
            r"bytes.* in 3 of 3 pairs",
        ),
        "08a96c54": (*[r"time \d\.\d\d.*\d+ of 40 rounds; winner: (S1|S3|neither)"] * 3,),
    },
    "06-leaner-steps": {
        # "at the tenth step ... the first step also tries whether samples mix"
        "646e8913": (
            r"step +1: D ran \d\d times",
            r"step +9: D ran 2 times",
            r"step 10: D ran \d\d",
        ),
        "726be1ee": (r"halves .*float32 \d\.\de-0[678], float64 \d\.\de-1[456]",),
        "1f628b9c": (r"less time in \d+ of 100 rounds\n",),
        "ca4fcb91": (r"mixes the samples",),  # "a layer that it has never heard of"
        "3b187d42": (r"4 numbers per sample.*by halves: difference \d(\.\d+e-0[6-9]|\.0)",),
        "0b3edfb2": (  # what the text under it says of each surrounding
            r"autocast\n",
            r"inputs= +differs by 0e\+00",
            r"halves +differs by \de-0[34]\n",
            r"checkpointed\n",
            r"inputs= +differs by 0e\+00",
            r"halves +differs by \de-0[678]\n",
            r"older form\n",
            r"inputs= +differs by 1e\+00",
            r"halves +differs by \de-0[678]\n",
            r"compiled\n",
            r"inputs= +raises: .*donated",
            r"halves +differs by \de-0[678]\n",
            r"one process\n",
            r"inputs= +differs by 0e\+00",
            r"halves +differs by \de-0[678]\n",
        ),
        "b8f5ac93": (r"without BatchNorm .*e-0[4-9]", r"with BatchNorm .*(e-0[4-9]|0\.0e\+00)"),
    },
    "07-dynamics": {
        "70b550fd": (r"0\.0: S2 is at 1\.\d", r"0\.5: S2 is at \d\.\d+e\+0[3-9]"),
        "670f5c3b": (  # the larger the first beta, the farther out; "with 0.9 both leave"
            r"0\.0: S2 is at 0\.0\d+, 0\.01\d+, 0\.01\d+\n",
            r"0\.0: S3 is at 0\.1\d, 0\.1\d, 0\.1\d\n",  # "they stop at a distance"
            r"0\.5: S2 is at 0\.2\d, 0\.2\d, 0\.2\d\n",
            r"0\.5: S3 is at 0\.[3-9]\d*, 0\.[3-9]\d*, 0\.[3-9]\d*\n",
            r"0\.9: S2 is at 1\.\d, 2\.\d, [3-9](\.\d)?\n",
            r"0\.9: S3 is at 1\.\d, 2\.\d, [3-9](\.\d)?\n",
        ),
        # "1 ± ih", and "on the circle"
        "a55a6e90": (
            r"S3, h 0\.2 1\.000\+0\.200j",
            r"S3, h 0\.6 1\.000\+0\.600j",
            r"S2, h 0\.2: eigenvalues of size 1\.0000\n",
            r"h 0\.6: eigenvalues of size 1\.0000\n",
        ),
        "64dc86b1": (
            *[r"S2 is at 0\.2\d\d, after twice the steps at 0\.1\d\d"] * 3,
        ),  # "still on its way in"
        "b28c74ef": (r"after \[.*400\] of the steps",),
        "4b6d2821": (  # the four papers: bounded, divergent, and converging sooner
            r"h 1\.9: farthest 4\.\d",
            r"h 2\.1: farthest \d\.\d+e\+[5-9]\d",
            r"S2, h 0\.1, gamma 0\.1: .* end 0\.0\d",
            r"S3, h 0\.1, gamma 0\.1: .* end 0\.[1-9]",
        ),
        "20133747": (r"after 200 steps: cosine -0\.\d\d with S3",),  # "may be negative"
        "d08b72c6": (r"S3 would have to take 0\.[2-8]0 of S2's time",),
        "55888f4b": (r"S2 is ahead in (9|10) of 10, on average by \+0\.[23]",),
        "35f3aa12": (r"no verdict yet: 1 of its 4", r"✗ Trained"),
        "6286d048": (  # a more accurate D brings far more, and no more than that
            r"S3, 0 more [^\n]*: [12]?\d% good",
            r"S3, 2 more [^\n]*: [56]\d% good",
            r"S3, 5 more .* [4-7]\.\d of 8 modes",
        ),
        "2fabe681": (r"no verdict yet: 2 of its 4", r"✓ On the ring", r"✓ There two more steps"),
    },
    "08-clinic": {
        "762b6cd0": (r"Measured: a player gets its gradient plus another loss's",),
        "17799b42": (r"Measured: a player gets no gradient",),
        "a9fb64aa": (r"Measured: a player gets its gradient plus another loss's",),
        "1d6d8c8f": (r"Measured: right gradients, graphs kept for nothing",),
        "40ac825a": (r"Measured: old activations, new weights",),
        "0ee26fba": (r"Measured: nothing is wrong",),
        "c4144659": (  # "Both together keep a graph for every step"
            r"False +losses detached: False +bytes: \[0, 0, 0\]\n",
            r"True +losses detached: True +bytes: \[0, 0, 0\]\n",
            r"True +losses detached: False +bytes: \[147968, 295936, 443904\]",
        ),
        "56379f65": (r"as written: cosine 0\.[89]\d",),  # "it points another way"
        "c63f5231": (
            r"0\.9\d times as long.*direction is right in this step \(cosine (1\.00|0\.99)",
        ),  # "but it is shorter"
        "43c2d477": (*[r"diagnose agrees\n"] * 6,),
        "c9d4e5f6": (  # "one pulls it down, the other up"
            r"the judge: polluted\n",
            r"polluted \(D\).*sums\s+two\s+losses.*opposite\s+ways",
        ),
        "a3b8c9d0": (r"unclipped.*had used already",),
    },
    "09-in-the-wild": {
        # "too small for float16. bfloat16 has the range of float32", and the order of unscale_
        "bb1a864e": (r"in bfloat16: 1\.\d+e-08  in float16: 0\.0, times 65,536: 0\.0006",),
        "c1195ca1": (r"scaled: [67],\d+, unscaled: 0\.1\d+, clipped to 0\.01: 0\.010",),
        "eb9a5fc3": (  # "a mere number": nothing of it reaches D, of either penalty
            r"GP +create_graph: .* grad_fn \w+Backward0 .* [1-9]\.\d\d\n",
            r"GP +retain_graph: .* grad_fn None .* 0\.00\n",
            r"R1 +create_graph: .* grad_fn \w+Backward0 .* 0\.[1-9]\d\n",
            r"R1 +retain_graph: .* grad_fn None .* 0\.00",
        ),
        "8b63d2e5": (r"create_graph: the penalty reaches 4 of 4", r"retain_graph: .*grad"),
        "d6d49a5f": (
            r"D and G step, the scale stays",
            r"'G': True, 'D': False",
            r"\*\*20: G steps.* to 524,288\n",
            r"2\.00 times",
        ),
        "a6037d5f": (r"two scalers: G steps.* now 524,288, G's 1,048,576\n", r"one scaler: True"),
    },
    "10-many-processes": {
        # "all agree, on a gradient that is none of the whole"; "It refuses this CPU"
        "b47c4e01": (
            r"neither +right, .*e-0[789], buffers agree\n",
            r"BatchNorm1d +agrees, wrong, .*[1-9]e-01, buffers do not agree\n",
            r"SyncBatchNorm +SyncBatchNorm expected .* GPU",
            r"SharedBatchNorm +right, .*e-1\d, buffers agree",  # "that is what mends it"
        ),
    },
    "12-my-loss-does-not-move": {
        "703f02bc": (r"g_loss 0\.\d\d at first, [4-6]\.\d\d at last; G moved: False",),
        "e31c8f94": (r"0\.[34]\d to 0\.[34]\d; G moved: False",),  # "the other rests"
    },
}


def missing(lesson: str, executed: Any) -> list[str]:
    """One line for each pattern that the cells of an executed notebook do not show."""
    of_cell = {cell.id: shown(cell) for cell in executed.cells}
    found: list[str] = []
    for cell, patterns in SENTENCES.get(lesson, {}).items():
        if cell not in of_cell:
            found.append(f"there is no cell {cell}, whose result was to be looked at")
        elif not re.search(".*?".join(patterns), of_cell[cell], re.DOTALL):
            found.append(f"cell {cell} has to show {patterns}, and shows {of_cell[cell]!r}")
    return found


def shown(cell: Any) -> str:
    """What a reader sees below an executed cell, as text."""
    return "".join(map(_text, cell.get("outputs", [])))


def _text(output: Any) -> str:
    """What a reader sees of an output, as text."""
    if output.output_type == "error":
        return str(output.evalue)
    data = output.get("data", {})
    return str(output.get("text", "")) + str(data.get("text/markdown", data.get("text/plain", "")))
