"""Graph walk: a directed graph as a list of edges, and a question that follows them. After OpenAI's GraphWalks."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ssmax_eval.errors import UserError, unknown
from ssmax_eval.measurement import Cell, Quantity
from ssmax_eval.tasks.answering import PROMPT, AnswerTask, Prompt
from ssmax_eval.tasks.filling import Filling, FillingTask, paragraphs
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.prompts import random_of

if TYPE_CHECKING:
    from ssmax_eval.model import Completion

QUESTIONS = ("bfs", "parents")
SCORING = "set_f1"
MEETING = 0.25
"""Share of the edges that the answer depends on which lead to a node that was found before."""
MOST_ANSWERS = 100
"""Nodes of the longest answer."""
Edge = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class GraphWalk(FillingTask):
    """The edges of a directed graph, a line each, in random order.

    `bfs` asks for the nodes at an exact distance from a node, `parents` for the nodes with an edge to a node. The list
    grows by edges that do not change the answer; every node that has edges has the same number of them.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (
        replace(
            AnswerTask.quantities[0], title="nodes right (F1)", section="Graph walk",
            about="The context lists the edges of a directed graph; nodes are asked for that a walk along them finds.",
        ),
        *(
            Quantity(name, title, "share", "higher", pool="share", same=PROMPT, views=(), between=(0.0, 1.0))
            for name, title in (
                ("precision", "named nodes that are right"),
                ("recall", "right nodes that are named"),
                ("exact", "answers that are wholly right"),
            )
        ),
        *AnswerTask.quantities[1:],
    )  # fmt: skip
    fillable: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "intro": (), "example": (), "bfs_question": ("node", "distance"), "parents_question": ("node",), "ending": (),
        "answer_prefix": (),
    }  # fmt: skip

    scoring: str = "set_f1"
    """How an answer is scored: set_f1, the F1 of the set of nodes in the last line."""
    question: str = "bfs"
    """What is asked: "bfs", the nodes at an exact distance, or "parents", the nodes with an edge to a node."""
    distance: int = 2
    """Edges between the node of a bfs question and the nodes asked for."""
    out_degree: int = 2
    """Edges that lead away from a node."""
    parents: int = 3
    """Nodes that a parents question asks for."""
    digits: int = 6
    """Hexadecimal digits of a node; the first is a letter."""
    intro: str = "These are the edges of a directed graph, one a line. Each leads from its left node to its right node."
    """Before the list."""
    example: str = (
        "With the edges d01 -> e02, d01 -> a03, e02 -> b04, a03 -> b04, a03 -> c05, the nodes exactly 2 steps from d01 "
        "are [b04, c05], and the nodes with an edge to b04 are [e02, a03]."
    )
    """A small example, before the list; empty: none."""
    bfs_question: str = (
        "Which nodes are exactly {distance} steps from {node}? The shortest way from {node} to such a node has "
        "{distance} edges, each followed in its direction."
    )
    """The question of bfs."""
    parents_question: str = "Which nodes have an edge to {node}?"
    """The question of parents."""
    ending: str = "End with a line that holds the list of these nodes and nothing else: [node, node, ...]"
    """After the question: the form of the answer."""
    answer_prefix: str = "The list: ["
    """Beginning of the answer, given to the model. Where it opens a bracket, the answer ends with that bracket."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.question not in QUESTIONS:
            raise unknown("question", self.question, QUESTIONS)
        if not 1 <= self.distance <= 10 or not 1 <= self.out_degree <= 10 or not 1 <= self.parents <= MOST_ANSWERS:
            raise UserError(
                f"distance and out_degree must be 1 to 10, and parents 1 to {MOST_ANSWERS}; "
                f"given {self.distance}, {self.out_degree} and {self.parents}"
            )
        if self.question == "bfs" and self.out_degree**self.distance > MOST_ANSWERS:
            raise UserError(
                f"out_degree ** distance must be at most {MOST_ANSWERS}, the nodes of the longest answer; "
                f"given {self.out_degree} ** {self.distance}"
            )
        if not 5 <= self.digits <= 16:
            raise UserError(f"digits must be 5 to 16, so that there are enough nodes; given {self.digits}")

    @property
    def opens(self) -> bool:
        """Whether the answer's list is begun for the model."""
        return not self.thinking and self.answer_prefix.rpartition("[")[1] == "[" and "]" not in self.answer_prefix

    @property
    def stops(self) -> tuple[str, ...]:
        return (*self.stop, "]") if self.opens else self.stop

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        if self.scoring != SCORING:
            raise unknown("scoring", self.scoring, (SCORING,))
        return lambda answer, expected: agreement(named(answer, opened=self.opens), expected).f1

    def scored(self, prompt: Prompt, answer: "Completion") -> dict[str, Any]:
        found = agreement(named(answer.text, opened=self.opens), prompt.expected)
        return super().scored(prompt, answer) | {
            "precision": found.precision, "recall": found.recall, "exact": found.exact,
        }  # fmt: skip

    def filling(self, cell: Cell, frame: Frame) -> Filling:
        """Return how the prompt is filled. The nodes depend on (seed, trial), their edges' order on the whole cell."""
        names = _names(random_of(self.seed, self.kind, "names", cell.trial), self.digits)
        draw = random_of(self.seed, self.kind, self.question, cell.trial)
        core = _parents(names, self) if self.question == "parents" else _layers(names, draw, self)
        others = _Others(core, names, draw, self.out_degree)
        asked = self.bfs_question if self.question == "bfs" else self.parents_question
        question = asked.format(node=core.node, distance=self.distance)

        def body(units: int, padding: str) -> str:
            edges = [*core.edges, *others.edges(units)]
            random_of(self.seed, self.kind, "order", cell.coordinates()).shuffle(edges)
            lines = "\n".join(f"- {start} -> {end}" for start, end in edges)
            intro, example, ending = (s.format() for s in (self.intro, self.example, self.ending))
            return paragraphs(intro, example, f"{lines} {padding}".strip(), question, ending)

        def about(units: int) -> Mapping[str, Any]:
            edges = [*core.edges, *others.edges(units)]
            return {"edges": len(edges), "nodes": len({node for edge in edges for node in edge})}

        more = max(1, self.out_degree + 2 - len(core.nodes))  # nodes, so that every edge has somewhere to lead
        least = len(core.open) + self.out_degree * more
        return Filling(body, self.answer_prefix.format(), least, tuple(sorted(core.answer)), about)


class Agreement(NamedTuple):
    """How well a set of nodes agrees with the expected one; shares from 0 to 1."""

    f1: float
    precision: float
    recall: float
    exact: float


def agreement(found: set[str], expected: Sequence[str]) -> Agreement:
    """Compare the nodes that an answer names with the right ones. An answer that names none scores 0."""
    both = len(found & set(expected))
    return Agreement(
        f1=2 * both / (len(found) + len(expected)),
        precision=both / max(len(found), 1),
        recall=both / len(expected),
        exact=float(found == set(expected)),
    )


def named(answer: str, *, opened: bool) -> set[str]:
    """Return the nodes that an answer lists in its last line.

    With `opened`, the answer goes on from an open bracket: its list ends at the first closing one, or with the line.
    """
    lines = [line for line in answer.splitlines() if line.strip()] or [""]
    line = lines[0] if opened else lines[-1]
    _, bracket, listed = line.partition("]")[0].rpartition("[")
    items = (listed if opened or bracket else line.rpartition(":")[2]).split(",")
    return {item.strip(" \t'\"`.*").lower() for item in items} - {""}


class _Core(NamedTuple):
    """The part of the graph that decides the answer."""

    node: str
    """The node that is asked about."""
    answer: Sequence[str]
    nodes: Sequence[str]
    """All of its nodes."""
    edges: Sequence[Edge]
    open: Sequence[str]
    """Starts of edges that its nodes still lack."""
    barred: str
    """The node to which no further edge may lead; empty: none."""


def _layers(names: Iterator[str], draw: random.Random, task: GraphWalk) -> _Core:
    """Nodes by their distance from one: most edges find a new node, some meet a node that was found before."""
    nodes, edges = [next(names)], list[Edge]()
    layer = list(nodes)
    for _ in range(task.distance):
        found = list[str]()
        for start in layer:
            ends = list[str]()
            while len(ends) < task.out_degree:
                known = [node for node in nodes if node != start and node not in ends]
                if found and known and draw.random() < MEETING:
                    ends.append(draw.choice(known))
                else:
                    found.append(next(names))
                    nodes.append(found[-1])
                    ends.append(found[-1])
            edges += [(start, end) for end in ends]
        layer = found
    return _Core(nodes[0], layer, nodes, edges, [node for node in layer for _ in range(task.out_degree)], "")


def _parents(names: Iterator[str], task: GraphWalk) -> _Core:
    """Nodes with an edge to one, to which no other edge leads."""
    node, *parents = islice(names, task.parents + 1)
    edges = [(parent, node) for parent in parents]
    lacking = [parent for parent in parents for _ in range(task.out_degree - 1)]
    return _Core(node, parents, [node, *parents], edges, lacking, node)


class _Others:
    """Edges that do not change the answer: none begins at a node that the walk leaves, or ends at a barred node."""

    def __init__(self, core: _Core, names: Iterator[str], draw: random.Random, out_degree: int) -> None:
        self.core, self.names, self.draw, self.out_degree = core, names, draw, out_degree
        self.starts = list(core.open)
        self.nodes = list(core.nodes)
        self.places: list[float] = []

    def edges(self, count: int) -> list[Edge]:
        """Return so many edges; their ends spread evenly over the nodes that are there with this many."""
        while len(self.starts) < count:
            self.nodes.append(next(self.names))
            self.starts += [self.nodes[-1]] * self.out_degree
        self.places += [self.draw.random() for _ in range(count - len(self.places))]
        new = max(count - len(self.core.open), 0)
        there = len(self.core.nodes) + -(-new // self.out_degree)
        edges = dict[Edge, None]()
        for start, place in zip(self.starts[:count], self.places, strict=False):
            at = int(place * there)
            while self.nodes[at] in (start, self.core.barred) or (start, self.nodes[at]) in edges:
                at = (at + 1) % there
            edges[start, self.nodes[at]] = None
        return list(edges)


def _names(draw: random.Random, digits: int) -> Iterator[str]:
    """Yield names of nodes, all different: a letter from a to f, then hexadecimal digits."""
    seen = set[str]()
    while True:
        name = draw.choice("abcdef") + "".join(draw.choices("0123456789abcdef", k=digits - 1))
        if name not in seen:
            seen.add(name)
            yield name
