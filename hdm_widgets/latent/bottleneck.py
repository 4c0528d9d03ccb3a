"""Which output of a run is the bottleneck: the deepest feature of the encoder, from the flow of the data alone.

The rule, for one forward pass:

1. Only outputs count that the prediction depends on and that grow with the image. Summaries that have one size for
   images of any size do not: squeeze-and-excite, pyramid pooling, queries. Tokens count as the grid of their patches.
2. The bottleneck is at the coarsest level, the fewest positions, that has weights: pooling alone makes no level.
3. Decoding is left out, with all that runs inside it: modules that take maps of the level and enlarge them or join
   them with finer ones, and whatever was computed from coarser maps.
4. The modules that remain at the level, outermost first, are a chain, and its last one is the bottleneck. Dropped from
   its end are the scores, pyramid pooling, modules with fewer channels than those before them, and, where nothing is
   decoded, 1 x 1 layers and all that follows an encoder that has most of the layers: these are the head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from hdm_widgets.latent.calls import Call, Output, Run
from hdm_widgets.latent.map_sizes import MapSizes
from hdm_widgets.latent.outputs import LayerError

__all__ = ["find_bottleneck"]

# A call with the output in it that is at the level.
_Step = tuple[Call, Output]


def find_bottleneck(run: Run, sizes: MapSizes) -> Output:
    """The output of the module that is the bottleneck.

    Parameters
    ----------
    run : Run
        With the sizes of its outputs.
    sizes : MapSizes
        That read them.

    Returns
    -------
    Output
        If several modules put out this tensor, that of the outermost.

    Raises
    ------
    LayerError
        If there is none, or its module runs more than once.
    """
    for strict in (True, False):
        search = _Search(run, sizes, strict=strict)
        for level in search.levels:
            found = search.at(level, run.root)
            if found is not None:
                return found
    raise LayerError("no module of the model puts out maps; name the layer with layer=")


class _Search:
    """Looks for the bottleneck in a run.

    Parameters
    ----------
    run : Run
    sizes : MapSizes
    strict : bool
        Leave out decoding, and levels without weights.
    """

    def __init__(self, run: Run, sizes: MapSizes, *, strict: bool) -> None:
        self._run = run
        self._sizes = sizes
        self._strict = strict and any(call.weights for call in run.calls)
        outputs = [one for one in run.outputs if one.contributes and not one.is_fixed and len(one.shape) > 1]
        if not sizes.grows:
            # Images of one size tell no summaries from maps: these are single positions, and tokens of no patches.
            outputs = [output for output in outputs if output.positions > 1 and output.grid is not None] or outputs
        self._outputs = outputs
        self._counted = set(map(id, outputs))
        self._layers = [call for call in run.calls if call.is_layer and self._of(call)]

    @property
    def levels(self) -> list[int]:
        """Positions of the outputs that count, the coarsest first."""
        return sorted({output.positions for output in self._outputs})

    def at(self, level: int, parent: Call) -> Output | None:
        """The bottleneck among the calls made in `parent`, if it is at this level."""
        steps: list[_Step] = []
        inner: list[Call] = []
        decoders: list[Call] = []
        for call in parent.children:
            if self._strict and self._decodes(call, level):
                decoders.append(call)
                continue
            output = self._output_at(call, level)
            if output is not None:
                steps.append((call, output))
            elif any(self._output_at(one, level) for one in call.walk()):
                inner.append(call)
        if steps and (not self._strict or any(call.weights for call, _ in steps)):
            found = self._end(self._longest(steps, level), level)
            if found is not None:
                return found
        elif steps:
            # What was pooled goes to a module that has the level's layers, and enlarges their maps.
            inner += [call for call in decoders if set(self._sizes.taken_positions(call)) == {level}]
        # Of several parts with maps of the level inside, the one with most of them.
        for call in sorted(inner, key=lambda call: (self._layers_at(call, level), call.ended), reverse=True):
            found = self.at(level, call)
            if found is not None:
                return found
        return None

    # -- what is at the level ----------------------------------------------------------------------

    def _of(self, call: Call) -> list[Output]:
        """The outputs of a call that count."""
        return [output for output in call.outputs if id(output) in self._counted]

    def _output_at(self, call: Call, level: int) -> Output | None:
        """The output that a call is at this level by: that of its name, or else its coarsest."""
        counted = self._of(call)
        main = call.main if call.main in counted else None
        candidates = [main] if main else [one for one in counted if one.positions == min(x.positions for x in counted)]
        # Of several of one size, the one that was made last.
        at_level = [output for output in candidates if output.positions == level]
        if self._strict:
            at_level = [one for one in at_level if one.coarsest_before is None or one.coarsest_before >= level]
        return max(at_level, key=_age) if at_level else None

    def _layers_at(self, call: Call, level: int) -> int:
        """Layers with weights in a call that put out maps of the level."""
        inside = set(map(id, call.walk()))
        return sum(
            any(one.positions == level for one in self._of(layer)) for layer in self._layers if id(layer) in inside
        )

    def _decodes(self, call: Call, level: int) -> bool:
        """Whether a call takes maps of the level, or coarser ones, and makes finer ones."""
        taken, made = self._sizes.taken_positions(call), [output.positions for output in self._of(call)]
        if not taken or not made:
            return False
        coarsest = min(taken)
        if coarsest <= level:
            return min(made) > coarsest or (bool(call.weights) and max(taken) > coarsest)
        # A neck that enlarges and shrinks maps of one size for a decoder of several.
        return len(made) > 1 and max(made) > max(taken)

    # -- where the encoder ends --------------------------------------------------------------------

    def _longest(self, steps: list[_Step], level: int) -> list[_Step]:
        """The part with the most layers: a new one begins where maps come from a finer level."""
        parts: list[list[_Step]] = []
        for step in steps:
            taken = self._sizes.taken_positions(step[0])
            if not parts or (taken and min(taken) > level):
                parts.append([])
            parts[-1].append(step)
        return max(reversed(parts), key=lambda part: sum(self._layers_at(call, level) for call, _ in part))

    def _end(self, steps: list[_Step], level: int) -> Output | None:
        """The output of the last step that belongs to the encoder."""
        groups = list(_groups(steps))
        last = steps[-1][0].ended
        decoded = any(
            layer.ended > last and any(one.positions > level for one in self._of(layer)) for layer in self._layers
        )
        if not decoded and len(groups) > 1 and self._is_scores(groups[-1]):
            groups.pop()
        while len(groups) > 1 and self._is_no_feature(groups, decoded=decoded):
            groups.pop()
        if not decoded:
            groups = self._encoder(groups)
        return self._resolved(groups[-1], level, decoded=decoded)

    def _is_scores(self, group: list[_Step]) -> bool:
        """Whether nothing that has weights follows."""
        return not any(layer.ended > group[-1][0].ended for layer in self._layers)

    def _is_no_feature(self, groups: list[list[_Step]], *, decoded: bool) -> bool:
        """Whether the last of several groups is pyramid pooling, narrower than others, or 1 x 1 layers of the head."""
        call = groups[-1][0][0]
        if any(one.is_fixed and one.contributes and one.positions > 1 for part in call.walk() for one in part.outputs):
            return True
        widths = [group[-1][1].channels for group in groups]
        is_narrower = widths[-1] < max(widths)
        if not is_narrower and (decoded or not _is_pointwise(groups[-1])):
            return False
        # The layer that cuts the image into patches is no feature by itself.
        return len(groups) > 2 or not _is_single_layer(groups[0])

    def _encoder(self, groups: list[list[_Step]]) -> list[list[_Step]]:
        """The groups up to an encoder, from the image to the level, that has most of the layers."""
        counts = [sum(self._layers_in(call) for call, _ in group) for group in groups]
        for position, group in enumerate(groups):
            taken = max((max(self._sizes.taken_positions(call), default=0) for call, _ in group), default=0)
            is_most = counts[position] > sum(counts[position + 1 :])
            if taken == self._sizes.image_positions and is_most and not _is_single_layer(group):
                return groups[: position + 1]
        return groups

    def _layers_in(self, call: Call) -> int:
        inside = set(map(id, call.walk()))
        return sum(id(layer) in inside for layer in self._layers)

    def _resolved(self, group: list[_Step], level: int, *, decoded: bool) -> Output | None:
        """The output of a group: of its last module that runs once, or before it where that has no weights."""
        is_scores = not decoded and self._is_scores(group)
        for call, output in reversed(group):
            found = self._inside(call, output, level, is_scores=is_scores)
            times = self._run.times(found.call.module)
            if times == 1:
                return found
            if found.call.weights:
                raise LayerError(
                    f"the bottleneck, layer {found.call.name!r}, ran {times} times in one run of the model, so that "
                    "its output is not one per image; name a layer that runs once with layer="
                )
        return None

    def _inside(self, call: Call, output: Output, level: int, *, is_scores: bool) -> Output:
        """The output of a call, or what is meant inside it if that is several maps or the scores."""
        several = len({one.edge for one in self._of(call) if one.positions == level}) > 1
        is_main = output is call.main
        if (is_scores and call.children) or (several and not is_main):
            found = self.at(level, call)
            if found is not None:
                return output if is_main and found.edge == output.edge else found
        return output if is_main else _named_alone(call, output)


def _age(output: Output) -> int:
    """How late an output was made."""
    return output.edge[0]._sequence_nr() if output.edge is not None else -1


def _named_alone(call: Call, output: Output) -> Output:
    """The same tensor as the output of a module that puts out only this, the outermost; or of the innermost module."""
    alike = [one for call in call.walk() for one in call.outputs if one.edge == output.edge and output.edge is not None]
    alone = [one for one in alike if one is one.call.main]
    return alone[0] if alone else alike[-1] if alike else output


def _groups(steps: list[_Step]) -> Iterator[list[_Step]]:
    """Steps that mix channels or positions, each with what only weighs, limits or drops values: norms, activations."""
    group: list[_Step] = []
    for step in steps:
        if group and not _mixes(step[0]) and not _follows(step[1], group[-1][1]):
            continue
        if _mixes(step[0]) and any(_mixes(call) for call, _ in group):
            yield group
            group = []
        group.append(step)
    yield group


def _follows(output: Output, earlier: Output) -> bool:
    """Whether an output was computed from an earlier one, as far as the graph of the run tells."""
    if output.edge is None or earlier.edge is None:
        return True
    pending, seen = [output.edge[0]], set()
    while pending:
        node = pending.pop()
        if node is earlier.edge[0]:
            return True
        # Nodes have the order in which they were made.
        if node not in seen and node._sequence_nr() > earlier.edge[0]._sequence_nr():
            seen.add(node)
            pending += [following for following, _ in node.next_functions if following is not None]
    return False


def _mixes(call: Call) -> bool:
    return any(weight.ndim > 1 for weight in call.weights)


def _is_single_layer(group: list[_Step]) -> bool:
    return all(call.is_layer for call, _ in group if _mixes(call))


def _is_pointwise(group: list[_Step]) -> bool:
    """Whether a group has one layer that mixes channels, and it takes positions one by one, as 1 x 1 layers do."""
    layers = [layer for call, _ in group for layer in call.walk() if layer.is_layer]
    mixing = [weight for layer in layers for weight in layer.weights if weight.ndim > 1]
    return len(mixing) == 1 and math.prod(mixing[0].shape[2:]) == 1
