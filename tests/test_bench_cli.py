"""`torchmanifold bench`, as typed."""

import json

import pytest
from click.testing import CliRunner

from torchmanifold.cli import cli


def test_bench_prints_and_writes_a_table(tmp_path):
    path = tmp_path / "table.json"
    arguments = ["bench", "parametrize", "--quick", "--only", "access*", "--json", str(path)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "residual" in result.output and result.output.rstrip().endswith(f"Results: {path}")
    assert {row["method"] for row in json.loads(path.read_text())["rows"]} >= {"ours", "torch"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mapz"], "unknown benchmark 'mapz'; there are maps"),
        (["maps", "--only", "zzz"], "no piece of work matches 'zzz'"),
        (["maps", "--repeats", "0"], "repeats must be positive"),
        (["maps", "--json", "/nowhere/x.json"], "there is no folder /nowhere"),
    ],
)
def test_bad_input_is_one_line(arguments, says):
    result = CliRunner().invoke(cli, ["bench", *arguments])
    assert result.exit_code == 2 and says in result.output
    assert "Traceback" not in result.output
