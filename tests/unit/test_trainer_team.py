"""What workers agree on before they read: the earlier model, and that no file is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import threads

from treeline import trainer
from treeline.artifacts import EarlierModel
from treeline.errors import ChannelError, PlatformError
from treeline.opt_ml import Channel, Hosts, Job, Paths
from treeline.team import Team


def job(**distributions: str | None) -> Job:
    channels = {
        name: Channel(name, Path(name), distribution=distribution)
        for name, distribution in distributions.items()
    }
    return Job(Paths(Path()), {}, channels, Hosts("algo-1", ("algo-1",)), None, None, {})


@pytest.mark.parametrize("name", ["train", "training", "validation", "test", "model"])
@pytest.mark.parametrize("distribution", ["ShardedByS3Key", None])
def test_no_channel_may_have_lost_files(name: str, distribution: str | None) -> None:
    whole = dict.fromkeys(("train", "validation", "model"), "FullyReplicated")
    trainer._check_nothing_lost(job(**whole), ["algo-2"])
    with pytest.raises(PlatformError, match=f"algo-2 is lost, and perhaps files of channel {name}"):
        trainer._check_nothing_lost(job(**{**whole, name: distribution}), ["algo-2"])


def test_certificates_cannot_be_lost() -> None:
    trainer._check_nothing_lost(job(train="FullyReplicated", tls=None, code=None), ["algo-2"])


@pytest.mark.parametrize("models", [(b"a", b"a"), (None, b"a"), (b"a", None), (None, None)])
def test_one_earlier_model_is_everybodys(models: tuple[bytes | None, ...]) -> None:
    def agree(team: Team) -> bytes | None:
        content = models[team.rank]
        earlier = None if content is None else EarlierModel(content, None, "model")
        found = trainer._of_all(earlier, team)
        return None if found is None else found.model

    wanted = b"a" if any(models) else None
    assert threads.run(2, agree) == [wanted, wanted]


def test_two_earlier_models_are_refused() -> None:
    def agree(team: Team) -> object:
        return trainer._of_all(EarlierModel(bytes([team.rank]), None, "model"), team)

    with pytest.raises(ChannelError, match="the hosts have different models"):
        threads.run(2, agree)
