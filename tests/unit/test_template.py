"""Templates: what is shipped, what is refused, and what the renderer is sent."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform_kit.cards.template import FALLBACK, FONTS, Template
from platform_kit.errors import TemplateError


def good() -> dict[str, Any]:
    return {
        "name": "mine",
        "fonts": {"body": {"regular": "Alegreya-Regular.ttf"}},
        "fallback": ["NotoSansHebrew-Regular.ttf"],
        "colors": {"ink": "#111111"},
        "styles": {
            "rarity": {"default": {"gem": "#444"}, "values": {"rare": {"set": {"gem": "$ink+20@0.5"}}}}
        },
        "icons": {"cost": {"default": {"shape": "circle", "fill": "#ccc"}}},
        "layers": [
            {"kind": "rect", "box": [0, 0, "63.5mm", 1050], "fill": "$gem"},
            {"kind": "text", "box": [60, 60, 500, 50], "text": "{name}", "font": "body", "size": 44},
        ],
    }


def write(folder: Path, data: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return path


def refused(folder: Path, data: Any) -> str:
    with pytest.raises(TemplateError) as caught:
        Template.read(write(folder, data))
    assert caught.value.hint
    return str(caught.value)


def test_shipped_templates_are_whole() -> None:
    assert Template.shipped() == ["classic", "minimal"]
    for name in Template.shipped():
        template = Template.read(name)
        assert template.name == name
        assert template.size_px == (750, 1050)
        bundle = template.bundle()
        assert template.digest == hashlib.sha256(bundle).hexdigest()
        named = set(json.loads(bundle)["fallback"])
        for family in json.loads(bundle)["fonts"].values():
            named |= set(family.values())
        assert named == set(template.files())
        for digest, data in template.files().items():
            assert hashlib.sha256(data).hexdigest() == digest


def test_the_shipped_text_stays_inside_of_the_safe_margin() -> None:
    def boxes(layers: list[dict[str, Any]]) -> list[list[float]]:
        own = [layer["box"] for layer in layers if layer["kind"] in ("text", "icons")]
        return own + [box for layer in layers for box in boxes(layer.get("layers", []))]

    margin = 3 / 25.4 * 300
    for name in Template.shipped():
        for x, y, width, height in boxes(json.loads(Template.read(name).bundle())["layers"]):
            assert x >= margin
            assert y >= margin
            assert x + width <= 750 - margin
            assert y + height <= 1050 - margin


@pytest.mark.parametrize("name", ["classic", "minimal"])
@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ({"power": "3", "toughness": "5"}, ["3/5"]),
        ({"power": "3", "health": "5"}, ["3/5"]),
        ({"attack": "3", "health": "5"}, ["3/5"]),
        ({"atk": "3000", "def": "2500"}, ["3000/2500"]),
        ({"attack": "3", "defense": "0"}, ["3/0"]),
        ({"power": "3"}, ["3"]),
        ({"hp": "120"}, ["120"]),
        ({"loyalty": "4"}, ["4"]),
        ({}, []),
    ],
)
@pytest.mark.parametrize("text", ["", "Flight."])
def test_strengths_are_shown_once_whatever_their_columns(
    name: str, columns: dict[str, str], shown: list[str], text: str
) -> None:
    card = {**columns, **({"text": text} if text else {})}

    def value(field: str) -> str:
        return next((card[one] for one in field.split("|") if card.get(one)), "")

    def holds(conditions: list[dict[str, Any]]) -> bool:
        return all((value(c["field"]) != "") == (c["present"] != c["not"]) for c in conditions)

    def texts(layers: list[dict[str, Any]]) -> list[str]:
        out = []
        for layer in layers:
            if holds([{"not": False, **c} for c in layer.get("when", [])]):
                if layer.get("name") == "power":
                    out.append(re.sub(r"{([^}]+)}", lambda m: value(m[1]), layer["parts"][0]["text"]))
                out += texts(layer.get("layers", []))
        return out

    assert texts(json.loads(Template.read(name).bundle())["layers"]) == shown


def test_fonts_have_licences_and_stay_small() -> None:
    fonts = [p for p in FONTS.iterdir() if p.suffix in (".ttf", ".otf")]
    assert {p.name for p in fonts} >= set(FALLBACK)
    assert sum(p.stat().st_size for p in fonts) < 20 << 20
    licences = {p.name.removesuffix("-OFL.txt") for p in FONTS.glob("*-OFL.txt")}
    for font in fonts:
        assert any(font.name.startswith(name) for name in licences), font.name


def test_lengths_colours_and_files_are_resolved(tmp_path: Path) -> None:
    bundle = json.loads(Template.read(write(tmp_path, good())).bundle())
    assert (bundle["width"], bundle["height"]) == (750, 1050)
    assert bundle["layers"][0]["box"] == [0, 0, 750, 1050]
    assert bundle["layers"][1]["parts"] == [{"text": "{name}"}]
    regular = (FONTS / "Alegreya-Regular.ttf").read_bytes()
    assert bundle["fonts"]["body"]["regular"] == hashlib.sha256(regular).hexdigest()


def test_the_digest_follows_the_meaning_and_the_files(tmp_path: Path) -> None:
    data = good()
    first = Template.read(write(tmp_path, data)).digest
    assert Template.read(write(tmp_path, "# a remark\n" + yaml.safe_dump(data))).digest == first
    (tmp_path / "Alegreya-Regular.ttf").write_bytes(b"another font")
    assert Template.read(write(tmp_path, data)).digest != first


@pytest.mark.parametrize(
    ("change", "where", "allowed"),
    [
        (lambda t: t.pop("name"), "'name' is missing", "Add name"),
        (lambda t: t.update(colours={}), "colours", "colors"),
        (lambda t: t["layers"][0].update(fil="#000"), "layers[0].fil", "fill"),
        (lambda t: t["layers"][0].update(kind="cube"), "layers[0].kind", "rect"),
        (lambda t: t["layers"][0].update(fill="$nope"), "layers[0].fill", "$ink"),
        (lambda t: t["layers"][0].update(fill="reddish"), "layers[0].fill", "#rrggbb"),
        (lambda t: t["layers"][0].update(box=[0, 0, 10]), "layers[0].box", "[a, b"),
        (lambda t: t["layers"][0].update(box=[0, 0, 0, 5]), "layers[0].box[2]", "0.5"),
        (lambda t: t["layers"][0].update(box=[0, 0, "3 inches", 5]), "layers[0].box[2]", "3.5mm"),
        (lambda t: t["layers"][1].update(font="nope"), "layers[1].font", "body"),
        (lambda t: t["layers"][1].update(size=True), "layers[1].size", "number"),
        (lambda t: t["layers"][1].update(size=float("nan")), "layers[1].size", "number"),
        (lambda t: t["layers"][1].update(min_size=90), "layers[1].min_size", "smaller"),
        (lambda t: t["layers"][1].pop("text"), "layers[1]", "text"),
        (lambda t: t["layers"][1].update(beside="cost"), "layers[1].beside", "earlier layer"),
        (lambda t: t["layers"][1].update(symbols="nope"), "layers[1].symbols", "cost"),
        (lambda t: t["styles"]["rarity"]["values"]["rare"].update(set={"x": "#000"}), "rare.set.x", "gem"),
        (lambda t: t["icons"]["cost"]["default"].update(shape="star"), "default.shape", "circle"),
        (lambda t: t["fonts"]["body"].update(regular="nope.ttf"), "fonts.body.regular", "Inter-Regular.ttf"),
        (lambda t: t["fonts"]["body"].update(regular="a.exe"), "fonts.body.regular", ".ttf"),
        (
            lambda t: t["size"].update(width=99999) if "size" in t else t.update(size={"width": 99999}),
            "size.width",
            "6000",
        ),
    ],
)
def test_what_cannot_mean_anything_is_refused(tmp_path: Path, change: Any, where: str, allowed: str) -> None:
    data = good()
    change(data)
    message = refused(tmp_path, data)
    assert where in message
    assert allowed in message


@pytest.mark.parametrize(
    "text", ["", "- a list", "a: [", "a: 1\na: 2", "\x00", "!!python/object:os.system {}", "&a [*a]"]
)
def test_files_that_are_no_template(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text)


def test_files_outside_of_the_folder_are_not_read(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.ttf").write_bytes(b"secret")
    (inner / "link.ttf").symlink_to(tmp_path / "secret.ttf")
    for name in ("../secret.ttf", str(tmp_path / "secret.ttf"), "link.ttf"):
        data = good()
        data["fonts"]["body"]["regular"] = name
        assert "fonts.body.regular" in refused(inner, data)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(TemplateError, match="classic, minimal"):
        Template.read("clasic")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(["name", "size", "fonts", "fallback", "colors", "styles", "icons", "layers"]),
    value=json_values,
)
def test_any_value_is_taken_or_refused_with_a_reason(tmp_path: Path, place: str, value: Any) -> None:
    data = good() | {place: value}
    try:
        Template.read(write(tmp_path, data)).bundle()
    except TemplateError as error:
        assert error.hint
