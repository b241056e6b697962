"""A cluster over TLS on loopback, set up as docs/scale-out.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import dask.config
import jobs
import pytest
import yaml

from napari_damm.engine.workers import dask as dask_workers

distributed = pytest.importorskip("distributed")

DOCS = Path(__file__).parents[1] / "docs" / "scale-out.md"


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """The settings of dask with certificates, from the commands and the file in the docs."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is missing")
    folder, text = tmp_path_factory.mktemp("tls"), DOCS.read_text()
    commands = [line for line in text.splitlines() if line.startswith("openssl ")]
    assert len(commands) == 3
    for command in commands:
        subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True)
    (settings,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    given = yaml.safe_load(settings.replace("/home/me/dask-tls", str(folder)))
    return dask.config.merge(dask.config.config, given)


def test_a_cluster_with_tls_computes_the_same_and_takes_nobody_without_a_certificate(
    certified, tmp_path, monkeypatch
):
    jobs.quick_first_stages(monkeypatch.setattr)
    jobs.make(tmp_path, (250, 256))
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "host": "127.0.0.1"}
    with dask.config.set(certified):
        cluster = distributed.LocalCluster(
            protocol="tls://", dashboard_address=None, security=distributed.Security(), **options
        )
    with cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        with dask.config.set(certified), dask_workers.connect(address) as client:
            events = jobs.run(tmp_path, tmp_path / "out.ome.zarr", client=client, steps=1)
        monkeypatch.setattr(dask_workers, "CONNECT_S", 0.5)
        with pytest.raises(ValueError, match="no dask scheduler answers at tls://"):
            dask_workers.connect(address)
    assert jobs.digest(events) == jobs.digest(jobs.run(tmp_path, None, steps=1))
