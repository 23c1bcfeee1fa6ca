"""A neural network trained on several hosts at once: PyTorch, gloo, CPU.

Every host works on its own rows and the gradients are summed over the hosts before each step, so
that all of them hold the same weights. A step is the one that a single host would make with the
rows of all: hosts may have different numbers of rows, and one may have none.

Channels ``train`` and ``validation`` (optional) hold npz files with arrays ``x`` (rows, features)
and ``y`` (rows,), the class of each row as a number from 0. The first host writes the model, the
checkpoints and the metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

PORT = 29500
HIDDEN = 64
# How long a host waits for the others: a network that is cut off ends the job, not hangs it.
TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True)
class Rows:
    """The rows of this host."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def batches(self, size: int, steps: int, seed: int) -> Iterator[Rows]:
        """Yield ``steps`` batches of the rows in a random order; the last ones may be empty."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for step in range(steps):
            chosen = order[step * size : (step + 1) * size]
            yield Rows(self.x[chosen], self.y[chosen])


class Stop:
    """Whether somebody has asked this host to stop."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


def main() -> None:
    """Train as the hyperparameters say."""
    options = parse()
    hosts, current = json.loads(os.environ["SM_HOSTS"]), os.environ["SM_CURRENT_HOST"]
    torch.set_num_threads(int(os.environ.get("SM_NUM_CPUS", "1")))
    # gloo would look for the address of the machine's own name, which the others may not reach.
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["SM_NETWORK_INTERFACE_NAME"]
    stop = Stop()
    rank, count = hosts.index(current), len(hosts)
    address = f"tcp://{hosts[0]}:{PORT}"
    dist.init_process_group("gloo", address, rank=rank, world_size=count, timeout=TIMEOUT)
    try:
        train(options, rank, count, stop)
        dist.barrier()  # no host leaves before the first one has saved the model
    finally:
        dist.destroy_process_group()


def parse() -> argparse.Namespace:
    """Return the hyperparameters; the toolkit hands them over as arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=32, help="rows of each host in a step")
    parser.add_argument("--learning_rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def train(options: argparse.Namespace, rank: int, count: int, stop: Stop) -> None:
    """Train from the last checkpoint to the last epoch and save the model."""
    rows, validation = (read(channel, rank, count) for channel in ("train", "validation"))
    features, classes, steps = agree(rows, validation, options.batch_size)
    mean, deviation = moments(rows, features)
    rows, validation = (
        Rows((part.x.reshape(-1, features) - mean) / deviation, part.y)
        for part in (rows, validation)
    )
    torch.manual_seed(options.seed)
    network = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
    optimizer = torch.optim.SGD(network.parameters(), lr=options.learning_rate, momentum=0.9)
    first = resume(network, optimizer, rank)
    for epoch in range(first, options.epochs):
        total, seen = 0.0, 0.0
        seed = (options.seed * 1_000_003 + epoch) * 1_000_003 + rank
        for batch in rows.batches(options.batch_size, steps, seed):
            loss, size, asked = step(network, optimizer, batch, stop.asked)
            total, seen = total + loss, seen + size
            if asked:
                sys.exit(f"asked to stop in epoch {epoch}: the checkpoint has the ones before it")
        scores = {"train-loss": total / seen, **evaluate(network, validation)}
        if rank == 0:
            keep(network, optimizer, epoch)
            said = " ".join(f"{name}:{value:.6f};" for name, value in scores.items())
            print(f"[{epoch}] {said}", flush=True)
    if rank == 0:
        model = {"network": network.state_dict(), "mean": mean, "deviation": deviation}
        torch.save(model, Path(os.environ["SM_MODEL_DIR"]) / "network.pt")


def read(channel: str, rank: int, count: int) -> Rows:
    """Return this host's rows: of its own files, or its share of files that all hosts have."""
    folder = os.environ.get(f"SM_CHANNEL_{channel.upper()}")
    files = sorted(Path(folder).rglob("*.npz")) if folder else []
    parts = [np.load(file) for file in files]
    if not parts:
        return Rows(torch.empty(0, 0), torch.empty(0, dtype=torch.int64))
    x = np.concatenate([part["x"] for part in parts]).astype(np.float32)
    y = np.concatenate([part["y"] for part in parts]).astype(np.int64)
    config = json.loads(os.environ["SM_INPUT_DATA_CONFIG"])[channel]
    if config.get("S3DistributionType") != "ShardedByS3Key":
        x, y = x[rank::count], y[rank::count]
    print(f"{channel}: {len(y)} rows of {len(files)} file(s) are this host's", flush=True)
    return Rows(torch.from_numpy(x), torch.from_numpy(y))


def agree(rows: Rows, validation: Rows, batch_size: int) -> tuple[int, int, int]:
    """Return how many features, classes and steps in an epoch there are, the same everywhere."""
    widths = [part.x.shape[1] for part in (rows, validation) if len(part)]
    labels = [int(part.y.max()) + 1 for part in (rows, validation) if len(part)]
    steps = -(-len(rows) // batch_size)
    found = torch.tensor([max(widths, default=0), max(labels, default=0), steps])
    dist.all_reduce(found, dist.ReduceOp.MAX)
    features, classes, steps = found.tolist()
    if steps == 0:
        sys.exit("no host has a row to train on: is the channel 'train' empty?")
    wrong = torch.tensor([sum(width != features for width in widths)])
    dist.all_reduce(wrong)
    if wrong.item():
        sys.exit(f"not all files have {features} features: this host has {sorted(set(widths))}")
    return features, classes, steps


def moments(rows: Rows, features: int) -> tuple[Tensor, Tensor]:
    """Return each feature's mean and standard deviation over the rows of all hosts."""
    x = rows.x.reshape(-1, features).double()
    sums = torch.cat([x.sum(0), (x * x).sum(0), torch.tensor([float(len(rows))])])
    dist.all_reduce(sums)
    mean, square = sums[:features] / sums[-1], sums[features:-1] / sums[-1]
    deviation = (square - mean * mean).clamp(min=0).sqrt()
    deviation[deviation == 0] = 1  # a constant feature
    return mean.float(), deviation.float()


def step(
    network: nn.Module, optimizer: torch.optim.Optimizer, batch: Rows, stop: bool
) -> tuple[float, float, bool]:
    """Make one step with the batches of all hosts.

    Return the sum of their losses, their number of rows, and whether a host was asked to stop.
    """
    optimizer.zero_grad(set_to_none=False)
    loss = nn.functional.cross_entropy(network(batch.x), batch.y, reduction="sum")
    loss.backward()
    parameters = list(network.parameters())
    told = torch.tensor([loss.item(), float(len(batch)), float(stop)])
    # All that the hosts have to tell each other, in one message.
    flat = torch.cat([*(p.grad.flatten() for p in parameters if p.grad is not None), told])
    dist.all_reduce(flat)
    loss_of_all, rows, asked = flat[-3:].tolist()
    sizes = [p.numel() for p in parameters]
    for parameter, gradient in zip(parameters, flat[:-3].split(sizes), strict=True):
        parameter.grad = gradient.reshape(parameter.shape) / rows
    optimizer.step()
    return loss_of_all, rows, asked > 0


@torch.no_grad()
def evaluate(network: nn.Module, rows: Rows) -> dict[str, float]:
    """Return loss and accuracy over the rows of all hosts; nothing where there are none."""
    scores = network(rows.x)
    loss = nn.functional.cross_entropy(scores, rows.y, reduction="sum")
    right = (scores.argmax(1) == rows.y).sum()
    sums = torch.tensor([loss.item(), right.item(), float(len(rows))], dtype=torch.float64)
    dist.all_reduce(sums)
    if sums[2] == 0:
        return {}
    return {
        "validation-loss": (sums[0] / sums[2]).item(),
        "validation-accuracy": (sums[1] / sums[2]).item(),
    }


def checkpoint() -> Path | None:
    """Return the file to go on from, None where nobody asked for checkpoints."""
    folder = Path(os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints"))
    return folder / "network.pt" if folder.is_dir() else None


def keep(network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """Write the checkpoint of a finished epoch, whole or not at all."""
    file = checkpoint()
    if file is None:
        return
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    new = file.with_name(file.name + ".sagemaker-ignore")  # which the platform does not upload
    with new.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def resume(network: nn.Module, optimizer: torch.optim.Optimizer, rank: int) -> int:
    """Go on from what the first host has kept; return the first epoch to train."""
    file = checkpoint()
    found: list[object] = [None]
    if rank == 0 and file is not None and file.exists():
        found[0] = torch.load(file, weights_only=True)
    dist.broadcast_object_list(found, src=0)
    state = found[0]
    if not isinstance(state, dict):
        return 0
    network.load_state_dict(state["network"])
    rate = optimizer.param_groups[0]["lr"]  # today's, not that of the checkpoint
    optimizer.load_state_dict(state["optimizer"])
    optimizer.param_groups[0]["lr"] = rate
    if rank == 0:
        print(f"resumed after epoch {state['epoch']}", flush=True)
    return int(state["epoch"]) + 1


if __name__ == "__main__":
    main()
