"""What merging makes of a file, as an operator sees it."""

import textwrap

import pytest

from migrate.errors import PreconditionError, UsageError
from migrate.wrangler.bindings import Bindings
from migrate.wrangler.merge import environments_without, merge_bindings

NEW = Bindings(vector_index="chunks", kv_namespace_id="id-1", kv_preview_id="id-2")


def merged(text: str | None, file: str, env: str | None = None) -> str:
    content = None if text is None else textwrap.dedent(text).encode()
    return merge_bindings(content, NEW, file=file, env=env).decode()


def is_text(text: str, result: str) -> bool:
    return textwrap.dedent(text) == result


pytestmark = pytest.mark.fault("V01")


def test_toml_gets_tables_at_its_end() -> None:
    before = """\
        name = "reader"  # the Worker
        [vars]
        MODE = "a"
        """
    after = """\
        name = "reader"  # the Worker
        [vars]
        MODE = "a"

        [[vectorize]]
        binding = "VECTORIZE_INDEX"
        index_name = "chunks"

        [[kv_namespaces]]
        binding = "FILE_VECTOR_INDEX"
        id = "id-1"
        preview_id = "id-2"
        """

    assert is_text(after, merged(before, "wrangler.toml"))


def test_an_entry_of_the_name_gets_the_new_values_in_its_place() -> None:
    before = """\
        [[kv_namespaces]]
        id = 'old'   # of the trial
        binding = "FILE_VECTOR_INDEX"
        # keep this comment

        [[vectorize]]
        binding = "OTHER"
        index_name = "theirs"
        [[vectorize]]
        binding = "VECTORIZE_INDEX"
          index_name="old" # cut over here
        """
    after = """\
        [[kv_namespaces]]
        id = "id-1"   # of the trial
        binding = "FILE_VECTOR_INDEX"
        preview_id = "id-2"
        # keep this comment

        [[vectorize]]
        binding = "OTHER"
        index_name = "theirs"
        [[vectorize]]
        binding = "VECTORIZE_INDEX"
          index_name="chunks" # cut over here
        """

    assert is_text(after, merged(before, "wrangler.toml"))


def test_a_new_table_follows_its_list_and_leaves_a_comment_with_what_it_is_about() -> None:
    before = """\
        [[vectorize]]
        binding = "OTHER"
        index_name = "theirs"
        # that is the old one

        # Variables
        [vars]
        MODE = "a"
        """
    after = """\
        [[vectorize]]
        binding = "OTHER"
        index_name = "theirs"
        # that is the old one

        [[vectorize]]
        binding = "VECTORIZE_INDEX"
        index_name = "chunks"

        # Variables
        [vars]
        MODE = "a"

        [[kv_namespaces]]
        binding = "FILE_VECTOR_INDEX"
        id = "id-1"
        preview_id = "id-2"
        """

    assert is_text(after, merged(before, "wrangler.toml"))


def test_comments_right_above_a_section_stay_with_it() -> None:
    before = '[[vectorize]]\nbinding = "OTHER"\n# about the variables\n[vars]\nMODE = "a"\n'
    after = merged(before, "wrangler.toml")

    assert "# about the variables\n[vars]\n" in after
    assert 'index_name = "chunks"\n\n# about' in after


def test_lists_in_brackets_are_continued_as_they_are_written() -> None:
    before = """\
        vectorize = [ { binding = "OTHER", index_name = "theirs" } ]
        kv_namespaces = [
            { binding = "FILE_VECTOR_INDEX", id = "old" }, # first
            # { binding = "B", id = "c" },
        ]
        """
    after = (
        'vectorize = [ { binding = "OTHER", index_name = "theirs" }, '
        '{ binding = "VECTORIZE_INDEX", index_name = "chunks" } ]\n'
        "kv_namespaces = [\n"
        '    { binding = "FILE_VECTOR_INDEX", id = "id-1", preview_id = "id-2" }, # first\n'
        '    # { binding = "B", id = "c" },\n'
        "]\n"
    )

    assert after == merged(before, "wrangler.toml")


def test_an_environment_gets_bindings_of_its_own() -> None:
    before = """\
        [env.production]
        name = "reader"
        [env.production.vars]
        MODE = "a"

        # for trials
        [env.staging]
        name = "trial"
        """
    after = """\
        [env.production]
        name = "reader"
        [env.production.vars]
        MODE = "a"

        [[env.production.vectorize]]
        binding = "VECTORIZE_INDEX"
        index_name = "chunks"

        [[env.production.kv_namespaces]]
        binding = "FILE_VECTOR_INDEX"
        id = "id-1"
        preview_id = "id-2"

        # for trials
        [env.staging]
        name = "trial"
        """

    assert is_text(after, merged(before, "wrangler.toml", "production"))


@pytest.mark.parametrize(
    "before",
    [
        '[env]\nproduction = { name = "reader" } # inline\n',
        'env = { production = { name = "reader" } }\n[vars]\n',
        '[env]\nproduction.name = "reader"\n[vars]\nA = "b"\n',
        'env.production.name = "reader"\nmain = "a.js"\n',
    ],
)
def test_an_environment_is_found_however_it_is_written(before: str) -> None:
    after = merged(before, "wrangler.toml", "production")

    assert environments_without(after.encode(), NEW, file="wrangler.toml") == ()
    assert merged(after, "wrangler.toml", "production") == after


def test_jsonc_is_continued_with_its_own_indentation_and_keeps_its_comments() -> None:
    before = (
        "{\n\t// the Worker\n"
        '\t"name": "reader", // its name\n'
        '\t"kv_namespaces": [\n'
        '\t\t{\n\t\t\t"binding": "FILE_VECTOR_INDEX", // the file index\n'
        '\t\t\t"id": "old" /* of the trial */\n\t\t}\n'
        "\t]\n\t// the end\n}\n"
    )
    after = (
        "{\n\t// the Worker\n"
        '\t"name": "reader", // its name\n'
        '\t"kv_namespaces": [\n'
        '\t\t{\n\t\t\t"binding": "FILE_VECTOR_INDEX", // the file index\n'
        '\t\t\t"id": "id-1", /* of the trial */\n\t\t\t"preview_id": "id-2"\n\t\t}\n'
        "\t],\n"
        '\t"vectorize": [\n'
        '\t\t{ "binding": "VECTORIZE_INDEX", "index_name": "chunks" }\n'
        "\t]\n\t// the end\n}\n"
    )

    assert after == merged(before, "wrangler.jsonc")


def test_json_on_one_line_stays_on_one_line() -> None:
    after = merged('{"name": "reader", "vectorize": [], "kv_namespaces": []}', "wrangler.json")

    assert after == (
        '{"name": "reader", "vectorize": [{ "binding": "VECTORIZE_INDEX", "index_name": "chunks" }]'
        ', "kv_namespaces": [{ "binding": "FILE_VECTOR_INDEX", "id": "id-1", "preview_id": "id-2" '
        "}]}"
    )


def test_without_a_preview_that_of_an_entry_stays() -> None:
    text = '[[kv_namespaces]]\nbinding = "FILE_VECTOR_INDEX"\nid = "a"\npreview_id = "b"\n'
    bare = Bindings(vector_index="chunks", kv_namespace_id="c")

    after = merge_bindings(text.encode(), bare, file="wrangler.toml", env=None).decode()

    assert after.startswith(text.replace('"a"', '"c"'))


@pytest.mark.parametrize("file", ["wrangler.toml", "wrangler.json", "wrangler.jsonc"])
@pytest.mark.parametrize("env", [None, "production"])
def test_a_new_file_has_the_bindings_and_says_what_else_belongs_there(
    file: str, env: str | None
) -> None:
    made = merged(None, file, env)

    assert merged(made, file, env) == made
    assert "chunks" in made
    assert ("compatibility_date" in made) == (file != "wrangler.json"), "JSON has no comments"


@pytest.mark.parametrize("file", ["wrangler.toml", "wrangler.jsonc"])
def test_line_ends_and_the_byte_order_mark_are_kept(file: str) -> None:
    text = (
        '\ufeffname = "a"\r\n' if file == "wrangler.toml" else '\ufeff{\r\n  "name": "a"\r\n}\r\n'
    )
    after = merged(text, file)

    assert after.startswith("\ufeff")
    assert after.count("\n") == after.count("\r\n") > text.count("\n")


REFUSED = {
    "toml, no value": ("a.toml", b"name = \n", "line 1, column 8"),
    "toml, a text without its end": ("a.toml", b'a = 1\nname = "x', "line 2, column 10"),
    "toml, a key twice": ("a.toml", b"a = 1\na = 2\n", "line 2, column 6"),
    "not UTF-8": ("a.toml", b"a = 1\nb = \xff", "line 2, column 5"),
    "UTF-16": ("a.toml", "a = 1".encode("utf-16"), "line 1, column 1"),
    "jsonc, empty": ("a.jsonc", b"", "line 1, column 1"),
    "jsonc, not an object": ("a.jsonc", b"// c\n[1]", "line 2, column 1"),
    "jsonc, two commas": ("a.jsonc", b'{"a": 1,, "b": 2}', "line 1, column 9"),
    "jsonc, no comma": ("a.jsonc", b'{"a": 1\n "b": 2}', "line 2, column 2"),
    "jsonc, no colon": ("a.jsonc", b'{"a" 1}', "line 1, column 6"),
    "jsonc, single quotes": ("a.jsonc", b"{'a': 1}", "line 1, column 2"),
    "jsonc, a comment without its end": ("a.jsonc", b'{"a": 1 /* b', "line 1, column 9"),
    "jsonc, a text without its end": ("a.jsonc", b'{"a": "b\n"}', "line 1, column 7"),
    "jsonc, no end": ("a.jsonc", b'{"a": [1', "line 1, column 9"),
    "jsonc, more than one value": ("a.jsonc", b"{}\n{}", "line 2, column 1"),
    "jsonc, a number that is none": ("a.jsonc", b'{"a": 01}', "line 1, column 7"),
    "jsonc, a key twice": ("a.jsonc", b'{"a": 1,\n "a": 2}', "line 2, column 2"),
    "jsonc, very deep": ("a.jsonc", b'{"a": ' + b"[" * 5_000, "more than 100 levels"),
    "toml, very deep": ("a.toml", b"a = " + b"[" * 90 + b"[" * 90 + b"]" * 180, "100 levels"),
    "toml, deeper than Python": ("a.toml", b"a = " + b"[" * 9_999, "more than 100 levels"),
    "a list of numbers": ("a.toml", b"vectorize = [1]\n", "vectorize is not a list of tables"),
    "a table for a list": ("a.jsonc", b'{"kv_namespaces": {}}', "is not a list of tables"),
    "a binding twice": (
        "a.toml",
        b"[[vectorize]]\nbinding='VECTORIZE_INDEX'\n[[vectorize]]\nbinding='VECTORIZE_INDEX'\n",
        "2 entries of vectorize have the binding VECTORIZE_INDEX",
    ),
}


@pytest.mark.fault("V02")
@pytest.mark.parametrize(("file", "content", "says"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_wrangler_could_not_read_is_refused(
    file: str, content: bytes, says: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        merge_bindings(content, NEW, file=file, env=None)

    assert file in str(refusal.value)
    assert says in str(refusal.value)
    assert "nothing has been written" in refusal.value.remedy


TAKEN = {
    "d1_databases": '[[d1_databases]]\nbinding = "VECTORIZE_INDEX"\n',
    "kv_namespaces": 'kv_namespaces = [{ binding = "VECTORIZE_INDEX", id = "x" }]\n',
    "vars": '[vars]\nFILE_VECTOR_INDEX = "x"\n',
    "durable_objects": '[durable_objects]\nbindings = [{ name = "VECTORIZE_INDEX" }]\n',
    "queues": '[[queues.producers]]\nbinding = "FILE_VECTOR_INDEX"\nqueue = "q"\n',
    "ai": '[ai]\nbinding = "VECTORIZE_INDEX"\n',
}


@pytest.mark.fault("V02")
@pytest.mark.parametrize(("part", "text"), TAKEN.items(), ids=TAKEN)
def test_a_name_that_something_else_has_is_refused(part: str, text: str) -> None:
    with pytest.raises(PreconditionError, match=f"is taken by {part}"):
        merged(text, "wrangler.toml")


@pytest.mark.fault("V02")
@pytest.mark.parametrize("text", ["a = 1\n", "[env.staging]\n", 'env = "x"\n'])
def test_an_environment_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--env prodution"):
        merged(text, "wrangler.toml", "prodution")


@pytest.mark.fault("V02")
@pytest.mark.parametrize(
    "text",
    [
        '[[kv_namespaces]]\nbinding = "FILE_VECTOR_INDEX"\nid.x = "a table"\n',
        '[[kv_namespaces]]\nbinding = "FILE_VECTOR_INDEX"\nid = ["a list"]\n',
    ],
)
def test_what_cannot_be_changed_alone_is_left_to_the_operator(text: str) -> None:
    with pytest.raises(PreconditionError, match="without changing something else") as refusal:
        merged(text, "wrangler.toml")

    assert "by hand" in refusal.value.remedy


def test_environments_without_the_bindings_are_named() -> None:
    text = '[env.a]\nname = "a"\n[env.b]\nname = "b"\n'
    after = merged(text, "wrangler.toml", "b")

    assert environments_without(after.encode(), NEW, file="wrangler.toml") == ("a",)
