#!/bin/sh
# torch-pruning 1.6.1, torch 2.14.1
#
# torch-pruning follows which inputs of later layers belong to a channel that is taken out. Through what reorders the
# channels it follows as if they had kept their places: ShuffleNet's channel shuffle (reshape, transpose, reshape), `flip`,
# `roll`, and a `flatten` of channels put last (`permute(0, 2, 3, 1)`, as in networks that come from TensorFlow). The right
# number of inputs goes, so that the network runs, and they are the wrong ones: those of living channels, and the dead ones'
# stay. Nothing says so, and training after it makes up for some of it, so that it passes for the price of pruning.
#
# Seen: 4 of 16 channels have weights and bias 0, and `MagnitudePruner` is to take a quarter: it takes these 4, and as they
# were 0, the outputs should stay the same. They do (to 1e-6) where channels keep their places, with `flatten` and with `cat`
# too; through a shuffle, `flip`, `roll` and `flatten` of channels put last they are 0.8 to 1.7 off (root of the mean square,
# over the right outputs' deviation; outputs of another network would be 1.4 off).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch-pruning==1.6.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch_pruning
from torch import nn

torch.set_num_threads(1)
dead = [1, 2, 6, 13]
x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def shuffle(y):
    batch, channels, height, width = y.shape
    return y.view(batch, 4, channels // 4, height, width).transpose(1, 2).reshape(batch, channels, height, width)


class Network(nn.Module):
    def __init__(self, between, inputs, flat):
        super().__init__()
        self.first, self.between = nn.Conv2d(3, 16, 3, padding=1), between
        self.last = nn.Linear(inputs, 8) if flat else nn.Conv2d(inputs, 8, 3)

    def forward(self, x):
        return self.last(self.between(self.first(x).relu()))


def change(between, inputs=16, flat=False):
    """How far the outputs are off after the dead channels are gone."""
    torch.manual_seed(1)
    model = Network(between, inputs, flat).eval()
    with torch.no_grad():
        model.first.weight[dead], model.first.bias[dead] = 0, 0
        right = model(x)
    pruner = torch_pruning.MagnitudePruner(
        model,
        x[:1],
        importance=torch_pruning.importance.GroupMagnitudeImportance(group_reduction="first"),
        pruning_ratio=0.25,
        ignored_layers=[model.last],
    )
    before = model.first.weight.detach().clone()
    pruner.step()
    kept = [i for i in range(16) if any(torch.equal(before[i], row) for row in model.first.weight)]
    got = model(x).detach()
    found = [i for i in range(16) if i not in kept]
    return found, float(((got - right) ** 2).mean().sqrt() / right.std(0).mean())


kept_in_place = {
    "nothing between": (lambda y: y,),
    "flatten": (lambda y: y.flatten(1), 1024, True),
    "cat with itself": (lambda y: torch.cat([y, -y], 1), 32),
}
reordered = {
    "shuffle": (shuffle,),
    "flip": (lambda y: y.flip(1),),
    "roll": (lambda y: y.roll(1, 1),),
    "channels last, flatten": (lambda y: y.permute(0, 2, 3, 1).flatten(1), 1024, True),
}
for name, built in {**kept_in_place, **reordered}.items():
    found, off = change(*built)
    print(f"{name}: channels {found} taken out, off by {off:.2g}")
    if name in kept_in_place:
        assert off < 1e-5 and found == dead
    elif found != dead or off < 0.3:
        raise SystemExit("other channels go, or the reordered ones are followed: the behaviour has changed")
PYTHON
