"""Completion in a shell: what bash itself answers when the script is read and Tab is pressed."""

import re
import shutil
import subprocess

import pytest

from smh import cli

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
# What is typed, and what has to be among the answers, and what must not.
TYPED = {
    "smh ": ("train shrink --version", "--data"),
    "smh shr": ("shrink", "train"),
    "smh train --mo": ("--model", "--out shrink"),
    "smh train --model lenet": ("lenet_5 lenet_300_100", "resnet_8"),
    "smh --import mine train --data dig": ("digits", "mnist"),
    "smh prune --structure ": ("weights filters channels", "--out"),
    "smh prune model.keras --then-train 3 --d": ("--data --data-dir", "--out"),
    "smh export --to ": ("litert onnx keras", "--out"),
    "smh plan vgg": ("vgg_11", "lenet_5"),
    "smh report mod": ("", "train --html"),
    "smh shrink --out ": ("", "train --out digits"),
    "smh evaluate model.keras --pa": ("--part", "--out"),
}


@pytest.fixture(scope="module")
def answers():
    lines = [
        f"COMP_WORDS=({typed}{' _' * typed.endswith(' ')}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); "
        + "[[ ${COMP_WORDS[COMP_CWORD]} == _ ]] && COMP_WORDS[COMP_CWORD]=; "
        + '_smh; echo "${COMPREPLY[@]}"'
        for typed in TYPED
    ]
    done = subprocess.run(
        ["bash", "-u", "-c", "\n".join([printed("bash"), *lines, "complete -p smh"])],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    *said, last = done.stdout.splitlines()
    assert "-F _smh smh" in last and "default" in last  # files, where there is no answer
    return dict(zip(TYPED, said, strict=True))


def printed(shell):
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as stopped:
        cli.main(["--print-completion", shell])
    assert stopped.value.code == 0
    return text.getvalue()


@pytest.mark.parametrize("typed", TYPED)
def test_what_bash_answers(typed, answers):
    found = set(answers[typed].split())
    wanted, other = (set(words.split()) for words in TYPED[typed])
    assert wanted <= found and not found & other
    assert wanted or not found


@pytest.mark.parametrize("room", ["compress", "sensitivity", "import", "train"])
def test_the_flags_are_those_that_the_command_knows(room, capsys):
    flags = re.search(rf'"{room} -"\*\) words=\'(.*)\' ;;', printed("bash"))[1].split()
    with pytest.raises(SystemExit):
        cli.main([room, "--no-such-flag"])
    known = re.search("there are: (.*). See", capsys.readouterr().err)[1].split(", ")
    assert {*flags, "-q"} == set(known)


def test_zsh_gets_the_same_behind_its_own_first_line():
    first, rest = printed("zsh").split("_smh() {")
    assert "bashcompinit" in first and rest == printed("bash").split("_smh() {")[1]


def test_another_shell_is_a_wrong_call(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--print-completion", "fish"])
    assert stopped.value.code == 2 and "bash, zsh" in capsys.readouterr().err
