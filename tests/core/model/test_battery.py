from __future__ import annotations

from typing import Any

import pytest
import torch

from anysize.core.errors import SizeError
from anysize.core.model.battery import check_nested_model
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


class Projection(NestedModel):
    """The smallest good family: a linear map whose rows are ordered, then a scalar."""

    kind = "test-projection"

    def __init__(self, nesting: Nesting, width: int) -> None:
        super().__init__(nesting)
        self.width = width
        self.weight = torch.nn.Parameter(torch.zeros(nesting.full.dims, width))
        self.register_buffer("gain", torch.tensor(1.0))

    def outputs(self, example: Any, sizes: tuple[Size, ...] | None = None) -> dict[Size, torch.Tensor]:
        asked = [self.nesting.resolve(size) for size in sizes or tuple(self.nesting)]
        z = example @ self.weight[: max(size.dims for size in asked)].T * self.gain
        return {size: z[:, : size.dims] for size in asked}

    def cost(self) -> Cost:
        return Cost(4 * self.size.dims, self.size.dims * self.width, 2 * self.size.dims * self.width)

    def config(self) -> dict[str, Any]:
        return {"width": self.width}

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Projection:
        return cls(nesting, config["width"])

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        return {"weight": ("dims", 0)}


def filled(cls: type[Projection], nesting: Nesting | None = None) -> Projection:
    model = cls(nesting or Nesting(dims=(2, 4, 8)), 6)
    generator = torch.Generator().manual_seed(0)
    model.weight.data = torch.randn(model.weight.shape, generator=generator)
    model.about = {"method": "by hand"}
    return model


EXAMPLE = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def test_a_good_model_passes():
    model = filled(Projection)
    model.train()
    check_nested_model(model, EXAMPLE, plain=lambda x: x @ model.weight.T, shape=lambda size: (5, size.dims))
    assert model.training


def test_a_menu_of_two_axes_passes():
    sizes = [Size(dims=2, layers=1), Size(dims=4, layers=2)]
    check_nested_model(filled(Projection, Nesting.pairs(sizes)), EXAMPLE)


def test_an_open_axis_passes_between_its_sizes_too():
    check_nested_model(filled(Projection, Nesting(dims=(3, 8), open=("dims",))), EXAMPLE)


class RunsListedOnly(Projection):
    def outputs(self, example, sizes=None):
        return {size: out + (size not in self.nesting) for size, out in super().outputs(example, sizes).items()}


def test_a_size_of_an_open_axis_that_is_not_the_prefix_is_named():
    with pytest.raises(AssertionError, match="loading at dims=1 differs from loading all and cutting"):
        check_nested_model(filled(RunsListedOnly, Nesting(dims=(3, 8), open=("dims",))), EXAMPLE)


class Averaged(Projection):
    """Gives the mean over the first share of the rows: no weight is nested in the axis."""

    kind = "test-averaged"
    shares = ("rows",)

    def __init__(self, nesting: Nesting, width: int) -> None:
        NestedModel.__init__(self, nesting)
        self.width = width
        self.weight = torch.nn.Parameter(torch.zeros(4, width))

    def outputs(self, example, sizes=None):
        z = example @ self.weight.T
        return {size: z[: int(5 * size.rows)].mean(0, keepdim=True) for size in self.nesting.resolve_all(sizes)}

    def cost(self):
        return Cost(16, self.weight.numel(), int(5 * self.size.rows) * self.weight.numel())

    def nested_tensors(self):
        return {}


def test_an_axis_of_shares_passes():
    nesting = Nesting(rows=("1/5", "2/5", "1/1"))
    check_nested_model(
        filled(Averaged, nesting), EXAMPLE, plain=lambda x: (x @ filled(Averaged, nesting).weight.T).mean(0)[None]
    )
    with pytest.raises(SizeError, match="Projection counts dims in whole numbers; got dims=1/2"):
        Projection(Nesting(dims=("1/2",)), 6)


class Shifted(Projection):
    """Each size has a shift of its own, which smaller sizes do without."""

    kind = "test-shifted"

    def __init__(self, nesting: Nesting, width: int) -> None:
        super().__init__(nesting, width)
        shifts = [torch.full((dims,), float(dims)) for dims in nesting.values("dims")]
        self.shifts = torch.nn.ParameterList(shifts)

    def outputs(self, example, sizes=None):
        place = {dims: index for index, dims in enumerate(self.nesting.values("dims"))}
        found = super().outputs(example, sizes)
        return {size: output + self.shifts[place[size.dims]] for size, output in found.items()}

    def owned_tensors(self):
        return {f"shifts.{place}": Size(dims=dims) for place, dims in enumerate(self.nesting.values("dims"))}


def test_tensors_that_belong_to_one_size():
    check_nested_model(filled(Shifted), EXAMPLE)


class OwnsTooMuch(Shifted):
    """Says that every size needs every shift."""

    def owned_tensors(self):
        return {name: Size(dims=2) for name in super().owned_tensors()}


class NotFinite(Projection):
    def outputs(self, example, sizes=None):
        return {size: output.log() for size, output in super().outputs(example, sizes).items()}


class Flat(Projection):
    def outputs(self, example, sizes=None):
        return {size: out[0] if size.dims == 2 else out for size, out in super().outputs(example, sizes).items()}


class ForgetsOne(Projection):
    def outputs(self, example, sizes=None):
        found = super().outputs(example, sizes)
        return {size: output for size, output in found.items() if sizes or size.dims != 4}


class DependsOnTheRest(Projection):
    def outputs(self, example, sizes=None):
        found = super().outputs(example, sizes)
        shift = max(output.shape[1] for output in found.values())
        return {size: output + shift for size, output in found.items()}


class ViewDiffers(Projection):
    def forward(self, example):
        return super().forward(example) + (self.size.dims == 2)


class Cheapens(Projection):
    def cost(self):
        return Cost(4, 100 - self.size.dims, 1)


class Copies(Projection):
    def at(self, size=None, /, **axes):
        view = super().at(size, **axes)
        view._parameters = {"weight": torch.nn.Parameter(self.weight.detach().clone())}
        return view


class Moves(Projection):
    def at(self, size=None, /, **axes):
        self.size = self.nesting.resolve(size, **axes)
        return super().at(size, **axes)


class LosesAbout(Projection):
    @classmethod
    def load(cls, path, size=None, /, **axes):
        model = super().load(path, size, **axes)
        model.about = {}
        return model


class LosesWeights(Projection):
    @classmethod
    def load(cls, path, size=None, /, **axes):
        model = super().load(path, size, **axes)
        model.weight.data[0, 0] = 0
        return model


class LosesSizes(Projection):
    @classmethod
    def load(cls, path, size=None, /, **axes):
        model = super().load(path, size, **axes)
        model.nesting = Nesting(dims=(4, 8))
        return model


class LosesState(Projection):
    """What decides the output, but is neither a weight nor in the configuration, is lost."""

    def __init__(self, nesting, width, scale=1.0):
        super().__init__(nesting, width)
        self.scale = scale

    def outputs(self, example, sizes=None):
        return {size: output * self.scale for size, output in super().outputs(example, sizes).items()}


class CutsWrongly(Projection):
    """Loading at a size keeps the right rows in the wrong order."""

    @classmethod
    def load(cls, path, size=None, /, **axes):
        model = super().load(path, size, **axes)
        if size is not None and model.nesting.full.dims < 8:
            model.weight.data = model.weight.data.flip(0)
        return model


class ReadsAll(Projection):
    @classmethod
    def load(cls, path, size=None, /, **axes):
        whole = super().load(path)
        return whole.extract(size, **axes) if size or axes else whole


class ExtractsWrongly(Projection):
    def extract(self, size=None, /, **axes):
        small = super().extract(size, **axes)
        small.weight.data = small.weight.data * 2
        return small


class ExtractShares(Projection):
    def extract(self, size=None, /, **axes):
        small = super().extract(size, **axes)
        small.weight = torch.nn.Parameter(self.weight.data[: small.size.dims])
        return small


class AcceptsAll(Projection):
    def at(self, size=None, /, **axes):
        try:
            return super().at(size, **axes)
        except ValueError:
            return super().at()


class RefusesTersely(Projection):
    def at(self, size=None, /, **axes):
        try:
            return super().at(size, **axes)
        except ValueError as error:
            raise type(error)("no") from None


class RefusesOddly(Projection):
    def extract(self, size=None, /, **axes):
        if size not in self.nesting:
            raise KeyError(size)
        return super().extract(size, **axes)


class Breaks(Projection):
    def cost(self):
        raise RuntimeError("out of order")


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (NotFinite, "the output at dims=2 holds NaN or infinite"),
        (Flat, r"dims=2 gives shape \(2,\) beside \(5, 8\)"),
        (ForgetsOne, "outputs gives sizes dims=2; dims=8, not dims=2; dims=4; dims=8"),
        (DependsOnTheRest, "running at dims=2 alone differs"),
        (ViewDiffers, "the view at dims=2 differs"),
        (Cheapens, "parameters fall from 98 at dims=2 to 96 at dims=4"),
        (Copies, "the view at dims=2 has its own copy of weight"),
        (Moves, "taking a view moved the model from dims=8 to dims=2"),
        (LosesAbout, "loading loses what is in about"),
        (LosesWeights, "loading changes the weight weight"),
        (LosesSizes, "loading turns"),
        (CutsWrongly, "loading at dims=2 differs from loading all and cutting"),
        (ReadsAll, "loading at dims=2 reads weights outside that size"),
        (OwnsTooMuch, "could not check partial loading, CheckpointError: .* does not fit its own description"),
        (ExtractsWrongly, "extracted at dims=2 differs from the view"),
        (ExtractShares, "extracted at dims=2 shares weight"),
        (AcceptsAll, r"at\(dims=8,layers=1\) is accepted"),
        (RefusesTersely, r"at\(dims=8,layers=1\) is refused without naming dims"),
        (RefusesOddly, r"extract\(dims=8,layers=1\) raises KeyError, not SizeError"),
        (Breaks, "could not check cost grows, RuntimeError: out of order"),
    ],
)
def test_each_broken_promise_is_named(broken, sentence):
    with pytest.raises(AssertionError, match=f"^{broken.__name__}: .*{sentence}"):
        check_nested_model(filled(broken), EXAMPLE)


def test_output_lost_in_saving():
    model = filled(LosesState)
    model.scale = 2.0
    with pytest.raises(AssertionError, match="loading changes the output at dims=2"):
        check_nested_model(model, EXAMPLE)


def test_full_size_that_is_not_the_plain_model():
    with pytest.raises(AssertionError, match="the full size dims=8 differs from the plain model"):
        check_nested_model(filled(Projection), EXAMPLE, plain=lambda x: torch.zeros(len(x), 8))


def test_shape_that_is_not_the_promised_one():
    with pytest.raises(AssertionError, match=r"dims=2 gives shape \(5, 2\), not \(5, 8\)"):
        check_nested_model(filled(Projection), EXAMPLE, shape=lambda size: (5, 8))
