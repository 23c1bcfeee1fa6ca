"""Models of XGBoost, each with some rounds of one model, put together to that model.

A part is what ``booster[first:end].save_raw("ubj")`` gives: everything of the model, but the
trees of some rounds only, counted from 0. Nothing is converted to numbers and back: the trees'
bytes are copied as they stand. Source of the fields: "Introduction to Model IO" of XGBoost's
documentation, and the models that 3.4.1 writes.

With dropout a model has a weight for each of its trees (``weight_drop``), and every round changes
those of earlier trees: a part has the weights of its own time, so the last ones are kept apart.
"""

from __future__ import annotations

from collections.abc import Buffer, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from treeline import ubjson
from treeline.algorithms.library import library
from treeline.ubjson import DamagedError, Reader

if TYPE_CHECKING:
    import xgboost as xgb

_ONE = b"d\x3f\x80\x00\x00"  # the weight of a tree without dropout
_NEEDED = (b"num_trees", b"iteration_indptr", b"tree_info", b"trees")

type _Span = tuple[int, int]  # where something begins, and where it ends
type _Change = tuple[_Span, Sequence[Buffer]]  # what to put in a place


def booster(
    models: Sequence[bytes],
    parameters: Mapping[str, Any],
    cache: Sequence[xgb.DMatrix] = (),
    weights: bytes | None = None,
) -> xgb.Booster:
    """Return the booster of all ``models``, joined, to train on or to score with.

    ``base_score`` is left out of ``parameters``: the model has one for each output, and XGBoost
    would put the one number in their place.
    """
    others = {name: value for name, value in parameters.items() if name != "base_score"}
    content = bytearray(joined(models, weights))
    made: xgb.Booster = library().Booster(others, cache, model_file=content)
    return made


def joined(models: Sequence[bytes], weights: bytes | None = None) -> bytes:
    """Return one model with the trees of all ``models``, in order; the rest is the last one's.

    All are UBJSON. ``weights`` is what ``weights`` returned for the whole model, None to put those
    of the parts together. A linear model has no parts: the last one is the whole. Raises
    ``ValueError`` for a part that is damaged or no model of XGBoost.
    """
    if len(models) == 1 and weights is None:
        return models[0]
    parts = [_checked(_part, model, number) for number, model in enumerate(models)]
    if all(part.linear for part in parts):
        return models[-1]
    if any(part.linear for part in parts):
        raise ValueError("parts of a model: some have trees, some are linear")
    info = [number for part in parts for number in part.info]
    indptr = [0]
    for part in parts:
        first = indptr[-1]
        indptr += [first + end for end in part.indptr[1:]]
    spans = parts[-1].spans
    changes: list[_Change] = [
        (spans[b"num_trees"], [ubjson.encode(str(len(info)))]),
        (spans[b"iteration_indptr"], [ubjson.encode(indptr)]),
        (spans[b"tree_info"], [ubjson.encode(info)]),
        (spans[b"trees"], list(_trees(models, parts, len(info)))),
    ]
    weights = _weights(models, parts) if weights is None else weights
    if weights is not None:
        changes.append(_change_of_weights(parts[-1], weights, len(info)))
    return _changed(models[-1], changes)


def weights(model: bytes) -> bytes | None:
    """Return the weights of the model's trees as they stand in it, None if it has none.

    Its trees are not read, which would take as long as to write them: everything is read up to
    the numbers of the trees, among which no text stands, and from the weights, which are looked
    for from the end, to the end. Raises ``ValueError`` where damage is seen on the way.
    """
    return _checked(_found_weights, model, None)


def rounds(model: bytes) -> int:
    """Return how many rounds a model has that has trees; raises ``ValueError`` for another."""
    return _checked(_counted, model, None)


def _counted(model: bytes) -> int:
    reader = _within_ensemble(model)
    _enter(reader, b"iteration_indptr")
    return max(0, len(reader.integers()) - 1)


def _found_weights(model: bytes) -> bytes | None:
    reader = _within_ensemble(model)
    for name in reader.members():
        if name == b"gbtree_model_param":
            break
        reader.skip()
    else:
        return None  # a linear model
    key = ubjson.text("weight_drop")
    at = model.rfind(key + b"[", reader.at)
    if at < 0:
        return None
    first = reader.at = at + len(key)
    reader.skip()
    end = reader.at
    for _ in range(4):  # model, gradient_booster, learner, and all
        for _ in reader.rest():
            reader.skip()
    if reader.at != len(model):
        raise DamagedError
    return model[first:end]


def _within_ensemble(model: bytes) -> Reader:
    """Read up to the object that has the trees."""
    reader = Reader(model)
    for name in (b"learner", b"gradient_booster", b"model"):
        _enter(reader, name)
    return reader


def _enter(reader: Reader, name: bytes) -> None:
    """Read up to the value of a member."""
    for found in reader.members():
        if found == name:
            return
        reader.skip()
    raise DamagedError


@dataclass
class _Part:
    """Where the fields of a model stand, and what they say."""

    spans: dict[bytes, _Span] = field(default_factory=dict)
    indptr: list[int] = field(default_factory=list)
    info: list[int] = field(default_factory=list)
    trees: list[tuple[_Span, _Span]] = field(default_factory=list)  # the second is of its id
    weights: ubjson.Array | None = None
    end: int = 0  # of the members of the object that has the trees

    @property
    def linear(self) -> bool:
        return b"trees" not in self.spans


def _checked[T](read: Callable[[bytes], T], model: bytes, number: int | None) -> T:
    which = "a model" if number is None else f"part {number + 1} of a model"
    try:
        return read(model)
    except (DamagedError, RecursionError) as error:
        raise ValueError(
            f"{which} is damaged or cut off: its {len(model):,} bytes are no model of XGBoost"
        ) from error


def _part(model: bytes) -> _Part:
    """Return a model's fields; it is read to its end."""
    reader, found = Reader(model), _Part()
    for name in reader.members():
        if name == b"learner":
            _learner(reader, found)
        else:
            reader.skip()
    if reader.at != len(model) or not found.end:
        raise DamagedError
    if not found.linear and not _agree(found):
        raise DamagedError
    return found


def _agree(part: _Part) -> bool:
    """Return whether what a model says of its trees is true of them."""
    count = len(part.trees)
    return (
        all(name in part.spans for name in _NEEDED)
        and len(part.info) == count
        and part.indptr[:1] == [0]
        and part.indptr[-1] == count
        and (part.weights is None or part.weights.count == count)
    )


def _learner(reader: Reader, found: _Part) -> None:
    for name in reader.members():
        if name != b"gradient_booster":
            reader.skip()
            continue
        for inner in reader.members():
            if inner == b"model":
                _model(reader, found)
            else:
                reader.skip()


def _model(reader: Reader, found: _Part) -> None:
    for name in reader.members():
        first = reader.at
        match name:
            case b"gbtree_model_param":
                _parameters(reader, found)
            case b"iteration_indptr":
                found.indptr = reader.integers()
            case b"tree_info":
                found.info = reader.integers()
            case b"trees":
                found.trees = [_tree(reader) for _ in reader.items()]
            case b"weight_drop":
                found.weights = reader.array()
            case _:
                reader.skip()
        if name != b"gbtree_model_param":
            found.spans[name] = first, reader.at
    found.end = reader.at - 1


def _parameters(reader: Reader, found: _Part) -> None:
    for name in reader.members():
        first = reader.at
        reader.skip()
        if name == b"num_trees":
            found.spans[b"num_trees"] = first, reader.at


def _tree(reader: Reader) -> tuple[_Span, _Span]:
    """Return where a tree stands, and where in it the value of its id does."""
    start, of_id = reader.at, None
    for name in reader.members():
        first = reader.at
        reader.skip()
        if name == b"id":
            of_id = first, reader.at
    if of_id is None:
        raise DamagedError
    return (start, reader.at), of_id


def _trees(models: Sequence[bytes], parts: Sequence[_Part], total: int) -> Iterator[Buffer]:
    """Yield the array of all trees, numbered from 0."""
    yield b"[#" + ubjson.length(total)
    number = 0
    for model, part in zip(models, parts, strict=True):
        view = memoryview(model)
        for (first, end), (id_first, id_end) in part.trees:
            yield view[first:id_first]
            yield ubjson.encode(number)
            yield view[id_end:end]
            number += 1


def _weights(models: Sequence[bytes], parts: Sequence[_Part]) -> bytes | None:
    """Return the weights of all parts; a tree without one has that of a tree without dropout."""
    if all(part.weights is None for part in parts):
        return None
    found, count = list[bytes](), 0
    for model, part in zip(models, parts, strict=True):
        count += len(part.trees)
        if part.weights is None:
            found.append(_ONE * len(part.trees))
        elif part.weights.kind is None:
            found.append(model[part.weights.first : part.weights.end])
        else:
            raise ValueError("weights of trees are not written as XGBoost 3.4.1 does")
    return b"[#" + ubjson.length(count) + b"".join(found)


def _change_of_weights(part: _Part, weights: bytes, trees: int) -> _Change:
    found = _checked(lambda content: Reader(content).array().count, weights, None)
    if found != trees:
        raise ValueError(f"parts of a model: {trees} trees, and {found} weights of trees")
    if part.weights is None:
        return (part.end, part.end), [ubjson.text("weight_drop"), weights]
    return part.spans[b"weight_drop"], [weights]


def _changed(model: bytes, changes: Sequence[_Change]) -> bytes:
    """Return the model with other bytes in some places."""
    view, at, pieces = memoryview(model), 0, list[Buffer]()
    for (first, end), new in sorted(changes, key=lambda change: change[0]):
        pieces += [view[at:first], *new]
        at = end
    return b"".join([*pieces, view[at:]])
