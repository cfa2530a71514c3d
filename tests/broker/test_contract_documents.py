"""The documents of the contract say what the structs say, and other people's tools can read them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
import yaml
from contract_documents.documents import main as make
from contract_documents.schemas import schema_of
from contract_documents.shapes import EXAMPLES, SHAPES, SOURCE
from contract_documents.tables import put_into
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker import contract_cases as cases
from fadeout_broker import contract

if TYPE_CHECKING:
    from broker.contract_cases import Shape

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NODE = "sp-7f3a9c"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A copy of the documents that may be changed."""
    shutil.copytree(DOCS, tmp_path / "docs")
    return tmp_path / "docs"


# ---- drift


def test_the_documents_are_what_the_structs_say() -> None:
    command = [sys.executable, str(ROOT / "scripts/make_contract"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        pytest.param("asyncapi.yaml", "qos: 1", "qos: 0", id="asyncapi.yaml"),
        pytest.param("schemas/action.json", '"maximum": 2592000', '"maximum": 2592001', id="a schema"),
        pytest.param("contract.md", "| `ttl` | `Ttl` |", "| `ttl` | `Count` |", id="a table"),
        pytest.param("contract.md", '"action":"light.on"', '"action":"light.off"', id="an example"),
        pytest.param("metadata.md", "| random, and of no use", "| of no use", id="what a field gives away"),
    ],
)
def test_a_document_that_says_something_else_is_shown(
    docs: Path, name: str, was: str, becomes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (docs / name).read_text()
    assert was in text
    (docs / name).write_text(text.replace(was, becomes, 1))
    assert make(["--docs", str(docs), "--check"]) == 1
    shown = capsys.readouterr()
    assert "hint: scripts/make_contract" in shown.err
    removed = [line for line in shown.out.splitlines() if line.startswith("-") and becomes in line]
    assert len(removed) == 1
    assert make(["--docs", str(docs)]) == 0
    assert (docs / name).read_text() == text


def test_a_schema_of_nothing_is_shown_and_removed(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (docs / "schemas" / "words.json").write_text("{}\n")
    (docs / "schemas" / "state.json").unlink()
    assert make(["--docs", str(docs), "--check"]) == 1
    shown = capsys.readouterr().out
    assert "docs/schemas/words.json" in shown
    assert "docs/schemas/state.json" in shown
    assert make(["--docs", str(docs)]) == 0
    assert make(["--docs", str(docs), "--check"]) == 0


def test_a_document_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for topics"):
        put_into("# The contract\n", {"topics": "x"})


def test_every_field_says_what_it_means() -> None:
    nested: list[type[msgspec.Struct]] = [contract.PolicyDocument, contract.PolicyRule, contract.ReplyData]
    for struct in [shape.struct for shape in SHAPES] + nested:
        for field in struct.__struct_fields__:
            assert field == "v" or SOURCE.text_of(struct.__name__, field), f"{struct.__name__}.{field}"


# ---- AsyncAPI


@pytest.fixture(scope="module")
def asyncapi() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    return document


@pytest.fixture(scope="module")
def asyncapi_schema() -> jsonschema.Draft7Validator:
    schema = json.loads((ROOT / "tests/asyncapi/3.0.0.json").read_text())
    return jsonschema.Draft7Validator(schema)


def test_asyncapi_yaml_is_asyncapi(
    asyncapi: dict[str, Any], asyncapi_schema: jsonschema.Draft7Validator
) -> None:
    asyncapi_schema.validate(asyncapi)


def _set(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    broken: dict[str, Any] = json.loads(json.dumps(document))
    *parents, last = path.split("/")
    place = broken
    for name in parents:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return broken


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("asyncapi", "4.0.0", id="a version that does not exist"),
        pytest.param("info", None, id="no info"),
        pytest.param("info/version", None, id="no version"),
        pytest.param("info/license", "Apache-2.0", id="a licence in the wrong shape"),
        pytest.param("topics", {}, id="a part that does not exist"),
        pytest.param("operations/sendAction/action", "publish", id="an action of AsyncAPI 2"),
        pytest.param("operations/sendAction/channel", None, id="an operation without channel"),
        pytest.param("operations/sendAction/bindings/mqtt/qos", 3, id="a quality of service of 3"),
        pytest.param("channels/action/adress", "x", id="a misspelt field"),
        pytest.param("components/messages/action/payload", 5, id="a payload that is a number"),
    ],
)
def test_what_is_not_asyncapi_is_refused(
    asyncapi: dict[str, Any], asyncapi_schema: jsonschema.Draft7Validator, path: str, value: object
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        asyncapi_schema.validate(_set(asyncapi, path, value))


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for inner in value.values() for ref in _references(inner)]
    if isinstance(value, list):
        return [ref for inner in value for ref in _references(inner)]
    return []


def test_every_reference_in_asyncapi_yaml_leads_somewhere(asyncapi: dict[str, Any]) -> None:
    references = _references(asyncapi)
    assert len(references) > len(SHAPES)
    for reference in references:
        if reference.startswith("#/"):
            place: Any = asyncapi
            for name in reference[2:].split("/"):
                place = place[name]
        else:
            assert (DOCS / reference).is_file(), reference


def test_every_topic_is_in_asyncapi_yaml_and_no_other(asyncapi: dict[str, Any]) -> None:
    addresses = {channel["address"] for channel in asyncapi["channels"].values()}
    assert addresses == {
        contract.availability_topic("{node}"),
        *(contract.prefix_of("{node}") + kind.topic for kind in contract.OUTGOING),
        *(contract.command_filter("{node}").replace("+", name) for name in contract.COMMANDS),
        contract.ack_filter("{node}").replace("+", "{consumer}"),
    }
    retained = {
        asyncapi["channels"][operation["channel"]["$ref"].rpartition("/")[2]]["address"]
        for operation in asyncapi["operations"].values()
        if operation["bindings"]["mqtt"].get("retain")
    }
    assert retained == set(contract.retained_topics("{node}"))


# ---- JSON Schema


def _validator(kind: str) -> jsonschema.Draft202012Validator:
    name = kind.replace("/", "-")
    schema = json.loads((DOCS / "schemas" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


VALIDATORS = {kind: _validator(kind) for kind in cases.KINDS}


def test_there_is_a_schema_for_every_shape() -> None:
    assert {kind.replace("/", "-") for kind in cases.KINDS} == {shape.name for shape in SHAPES}
    assert {path.stem for path in (DOCS / "schemas").iterdir()} == {shape.name for shape in SHAPES}


@pytest.mark.parametrize("shape", cases.FITS)
def test_a_schema_accepts_what_the_contract_encodes(shape: Shape) -> None:
    VALIDATORS[cases.kind_of(shape)].validate(json.loads(cases.encode(shape)))


@pytest.mark.parametrize(("kind", "data"), cases.MISFITS)
def test_a_schema_refuses_what_the_contract_refuses(kind: str, data: bytes) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATORS[kind].validate(json.loads(data))


@pytest.mark.parametrize(("kind", "data"), cases.CONTRADICTIONS)
def test_what_only_the_code_refuses_is_really_beyond_a_schema(kind: str, data: bytes) -> None:
    # Whatever moves into a schema belongs to the other table.
    VALIDATORS[kind].validate(json.loads(data))


def _patient(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Return a schema as the contract tells subscribers to use it: without its additionalProperties."""
    if isinstance(schema, dict):
        return {
            name: _patient(part)
            for name, part in schema.items()
            if name != "additionalProperties" or part is not False
        }
    return [_patient(part) for part in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(
    "shape", [shape for shape in cases.SHAPES_THAT_FIT if isinstance(shape, contract.Outgoing)]
)
def test_a_schema_without_its_strictness_takes_what_a_later_device_adds(shape: Shape) -> None:
    kind = cases.kind_of(shape)
    later = {**json.loads(cases.encode(shape)), "added_later": 1}
    with pytest.raises(jsonschema.ValidationError):
        VALIDATORS[kind].validate(later)
    jsonschema.Draft202012Validator(_patient(VALIDATORS[kind].schema)).validate(later)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_schema_accepts_its_own_examples(shape: Any) -> None:  # noqa: ANN401 - the scripts' own type
    schema = schema_of(shape)
    assert schema["examples"]
    for example in schema["examples"]:
        jsonschema.Draft202012Validator(schema).validate(example)


# ---- the examples in the documents


def _decode(topic: str, data: bytes) -> Shape:
    end = topic.removeprefix(contract.prefix_of(NODE))
    if end.startswith("erase/ack/"):
        return contract.decode_ack(data)
    if end.startswith("cmd/"):
        return contract.decode_request(end.removeprefix("cmd/"), data)
    payload = contract.decode(data)
    assert contract.topic_of(NODE, payload) == topic
    return payload


def test_every_example_in_the_text_is_of_the_contract() -> None:
    text = (DOCS / "contract.md").read_text()
    examples = re.findall(r"^    (fadeout/\S+)\n    (\{.*\})$", text, re.MULTILINE)
    assert {type(_decode(topic, data.encode())) for topic, data in examples} == {
        shape.struct for shape in SHAPES
    }
    # No example stands anywhere else, where nothing would try it.
    assert len(re.findall(r'^\s+\{"(?:type|v|transaction)"', text, re.MULTILINE)) <= len(examples)


def test_every_example_in_asyncapi_yaml_is_of_the_contract(asyncapi: dict[str, Any]) -> None:
    tried = 0
    for name, message in asyncapi["components"]["messages"].items():
        topic = asyncapi["channels"][name]["address"].replace("{node}", NODE).replace("{consumer}", "me")
        for example in message.get("examples", []):
            assert _decode(topic, json.dumps(example["payload"]).encode())
            tried += 1
    assert tried >= len(SHAPES)


def test_every_payload_in_the_readme_is_of_the_contract() -> None:
    payloads = re.findall(r'\{"type":.*?\}(?=`|$)', (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(payloads) >= 5
    for payload in payloads:
        contract.decode(payload.encode())


def test_the_receipt_of_the_example_is_signed() -> None:
    for example in EXAMPLES[contract.ReceiptEvent]:
        assert isinstance(example, contract.ReceiptEvent)
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(example.key))
        # As the document says it, not as the code does.
        signed = (
            f'fadeout receipt v1\n{{"hour":{example.hour},"items":{example.items},"n":{example.n},'
            f'"reason":"{example.reason}","root":"{example.root}","v":1}}'
        ).encode()
        key.verify(bytes.fromhex(example.signature), signed)
        with pytest.raises(InvalidSignature):
            key.verify(bytes.fromhex(example.signature), signed.replace(b"expired", b"user"))


def test_the_policy_of_the_example_has_its_hash() -> None:
    for example in EXAMPLES[contract.PolicyNow]:
        sent = json.loads(msgspec.json.encode(example))
        canonical = json.dumps(sent["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(canonical.encode()).hexdigest() == sent["hash"]


def test_an_example_is_written_as_it_is_sent() -> None:
    text = (DOCS / "contract.md").read_text()
    for shape in SHAPES:
        for example in shape.examples:
            if isinstance(example, contract.Outgoing):
                assert f"    {msgspec.json.encode(example).decode()}\n" in text
