"""`kazoo-rec token`."""

from click.testing import CliRunner

from kazoo_rec.cli.token import token


def test_a_path_that_would_let_in_more_than_it_says_is_refused(tmp_path):
    (tmp_path / "kazoo_rec.yaml").write_text("")
    ended = CliRunner().invoke(token, ["create", "--role", "superadmin", "--path", "/v2/accounts/*/#/peaks", "--config",
                                       str(tmp_path / "kazoo_rec.yaml")])
    assert ended.exit_code == 2 and "stands at its end" in ended.output
