"""Make rows that look like a flights table: a label and 13 features, as Parquet files.

Usage: python -m benchmarks.make_flights FOLDER ROWS [--seed N]

The columns have the names and ranges of the airline table that the RAPIDS hyperparameter example
trains on: calendar, flight and airport numbers, times and distance, all integers in float32, so
that a file compresses as such tables do (about 11 bytes a row). Rows are in order of the year
and, within a year, in none. ``ArrDel15`` is drawn from a probability that depends on the delay
at departure, hour, month, carrier and airports: it can be learned and not known. ``DepDel15``
alone is right in 93 % of the rows, as in the real table.

One block of a million rows is in memory at a time. The same rows and seed give the same files.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treeline.hyperparameters.presets import PRESETS

BLOCK = 1_000_000
BLOCKS_PER_FILE = 8
LABEL, FEATURES = PRESETS["airline"].label, PRESETS["airline"].features
_SCHEMA = pa.schema([(name, pa.float32()) for name in (LABEL, *FEATURES)])
_YEARS = 10
_CARRIERS, _MARKETS, _ROUTES = 16, 300, 6000

Values = NDArray[np.float64]


class World:
    """What does not change from row to row: carriers, airports, routes and their delays."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng([seed, 0])
        self.carriers = np.sort(random.choice(np.arange(19_390, 21_200), _CARRIERS, replace=False))
        self.carrier_delay = random.normal(0, 0.35, _CARRIERS)
        self.markets = np.sort(random.choice(np.arange(30_070, 36_200), _MARKETS, replace=False))
        self.market_delay = random.normal(0, 0.3, _MARKETS)
        busy = (random.pareto(1.2, _MARKETS) + 0.1).clip(max=20)
        self.origin = random.choice(_MARKETS, _ROUTES, p=busy / busy.sum())
        step = random.integers(1, _MARKETS, _ROUTES)
        self.destination = (self.origin + step) % _MARKETS
        self.miles = random.gamma(2.2, 360, _ROUTES).clip(60, 2700).round()
        flown = random.pareto(1.5, _ROUTES) + 0.2
        self.route_share = np.cumsum(flown / flown.sum())

    def block(self, first: int, rows: int, total: int, seed: int) -> pa.Table:
        """Return rows ``first`` to ``first + rows`` of ``total``."""
        random = np.random.default_rng([seed, 1, first])
        year = np.arange(first, first + rows) * _YEARS // total
        day = random.integers(0, 365, rows)
        month = np.minimum(day // 31, 11) + 1
        route = np.minimum(np.searchsorted(self.route_share, random.random(rows)), _ROUTES - 1)
        carrier = (route * 7 + random.integers(0, 3, rows)) % _CARRIERS
        hour = np.minimum(5 + random.gamma(4.0, 2.4, rows), 23.99)
        minute = (hour % 1 * 60).astype(np.int64)
        strain = (
            self.carrier_delay[carrier]
            + self.market_delay[self.origin[route]]
            + 0.09 * (hour - 12)
            + 0.3 * np.isin(month, (6, 7, 12))
        )
        delay = _departure_delay(strain, random)
        air = (self.miles[route] / 7.6 + 18 + random.normal(0, 7, rows)).clip(15).round()
        chance = (
            0.16 * (delay - 17) + 0.35 * strain + 0.6 * self.market_delay[self.destination[route]]
        )
        late = random.random(rows) < 1 / (1 + np.exp(-chance))
        columns = (
            late,
            2007 + year,
            (month - 1) // 3 + 1,
            month,
            (day + year) % 7 + 1,
            1 + route * 5 % 6500 + random.integers(0, 40, rows),
            self.carriers[carrier],
            self.markets[self.origin[route]],
            self.markets[self.destination[route]],
            hour.astype(np.int64) * 100 + minute,
            delay,
            delay >= 15,
            air,
            self.miles[route],
        )
        return pa.table([pa.array(c.astype(np.float32)) for c in columns], schema=_SCHEMA)


def _departure_delay(strain: Values, random: np.random.Generator) -> Values:
    """Return minutes: most flights leave on time, some late, with a long tail."""
    on_time = random.normal(-3, 4, len(strain))
    tail = random.exponential(28, len(strain)) * np.exp(0.4 * strain)
    late = random.random(len(strain)) < 1 / (1 + np.exp(1.1 - strain))
    return np.where(late, tail, on_time).clip(-30, 1400).round()


def make(folder: Path, rows: int, seed: int = 7) -> list[Path]:
    """Write ``rows`` rows under ``folder`` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    world = World(seed)
    files: list[Path] = []
    for start in range(0, rows, BLOCK * BLOCKS_PER_FILE):
        file = folder / f"flights-{len(files):04}.parquet"
        end = min(rows, start + BLOCK * BLOCKS_PER_FILE)
        with pq.ParquetWriter(file, _SCHEMA, compression="snappy") as writer:
            for first in range(start, end, BLOCK):
                writer.write_table(world.block(first, min(BLOCK, end - first), rows, seed))
        files.append(file)
    return files


def main() -> None:
    """Make the files and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    started = time.monotonic()
    files = make(options.folder, options.rows, options.seed)
    size = sum(file.stat().st_size for file in files)
    print(
        f"{options.rows:,} rows in {len(files)} files, {size / 1e9:.2f} GB "
        f"({size / options.rows:.1f} bytes a row), {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
