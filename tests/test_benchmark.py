"""Timing, the description of the machine, the cost of a file, and the command over them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisenetv2.cli import main
from bisenetv2.data.streets import render_street
from bisenetv2.errors import UserError
from bisenetv2.images import write_image
from bisenetv2.inference import benchmark as timing
from bisenetv2.inference import machine
from bisenetv2.inference.benchmark_report import report
from bisenetv2.inference.model_file import find_model, read_card
from bisenetv2.inference.segmenter import Segmenter, network_size
from bisenetv2.inference.upsample import upsample_argmax
from bisenetv2.network.config import BiSeNetV2Config

SMALL = ("--frame", "64", "96", "--runs", "2", "--warmup", "1")
STAGES = ["resize", "network", "upsample-argmax", "frame to mask"]
ALL_STAGES = ["read", *STAGES, "overlay", "file to picture"]


def run(capsys, *words):
    """Runs the command line; returns exit code, stdout and stderr."""
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def layers():
    pytest.importorskip("openvino")
    from bisenetv2.inference import openvino_layers

    return openvino_layers


@pytest.fixture(autouse=True)
def _short_yardstick(layers, monkeypatch):
    monkeypatch.setattr(layers, "PEAK_RUNS", 2)
    monkeypatch.setattr(layers, "PEAK_SECONDS", 0.0)


@pytest.fixture(scope="module")
def plain_road():
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from bisenetv2.export import plain_road

    return plain_road


class TestTiming:
    def test_every_stage_is_timed_within_the_whole_and_the_mask_is_the_segmenters(self):
        segmenter = Segmenter()
        frame = render_street(0, 0, (70, 90)).image
        seconds, mask = timing.time_stages(segmenter, frame)
        assert list(seconds) == STAGES
        assert min(seconds.values()) > 0
        assert sum(seconds[s] for s in STAGES[:3]) == pytest.approx(seconds["frame to mask"])
        assert np.array_equal(mask, segmenter(frame))

    def test_an_engine_that_finds_the_masks_itself_has_one_stage_less(self):
        class OnDevice:
            name = "torch"

            def logits(self, frames):
                raise AssertionError("logits have no reason to leave the device")

            def masks(self, frames, size):
                return np.full((len(frames), *size), 7, np.uint8)

        segmenter = Segmenter.from_engine(OnDevice(), read_card(find_model("camvid-fp32")))
        seconds, mask = timing.time_stages(segmenter, np.zeros((70, 90, 3), np.uint8))
        assert list(seconds) == ["resize", "network", "frame to mask"]
        assert np.array_equal(mask, np.full((70, 90), 7))

    def test_a_file_is_read_and_painted_too(self, tmp_path):
        write_image(tmp_path / "street.png", render_street(0, 0, (70, 90)).image)
        seconds, mask = timing.time_file(Segmenter(), tmp_path / "street.png")
        assert list(seconds) == ALL_STAGES
        assert mask.shape == (70, 90)
        parts = seconds["read"] + seconds["frame to mask"] + seconds["overlay"]
        assert parts <= seconds["file to picture"]

    def test_roads_take_turns_and_warm_up_is_not_kept(self):
        calls = []
        roads = [lambda x: calls.append(("a", x)) or x, lambda x: calls.append(("b", x)) or -x]
        kept = timing.interleave(roads, [1, 2], runs=3, warmup=1)
        assert kept == [[1, 2, 1], [-1, -2, -1]]
        assert calls == [
            ("a", 1), ("b", 1),  # warm-up
            ("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 1), ("b", 1),
        ]  # fmt: skip

    def test_progress_counts_the_warm_up_too(self):
        advanced = []
        timing.interleave([abs], [0], runs=3, warmup=2, advance=lambda: advanced.append(0))
        assert len(advanced) == 5

    @pytest.mark.parametrize("wrong", [{"runs": 0}, {"warmup": -1}])
    def test_impossible_numbers_are_refused(self, wrong):
        with pytest.raises(UserError):
            timing.interleave([abs], [0], **{"runs": 1, "warmup": 0, **wrong})

    def test_summary_of_a_known_distribution(self):
        summary = timing.summarise([n / 1000 for n in range(101)])
        assert summary.median_ms == pytest.approx(50)
        assert summary.p95_ms == pytest.approx(95)

    @given(st.lists(st.floats(1e-6, 1e3), min_size=1))
    def test_summary_lies_within_the_times(self, seconds):
        summary = timing.summarise(seconds)
        low, high = 1000 * min(seconds), 1000 * max(seconds)
        assert low * (1 - 1e-9) <= summary.median_ms <= summary.p95_ms <= high * (1 + 1e-9)

    @pytest.mark.parametrize(
        ("preset", "seen"),
        [("cityscapes", (512, 1024)), ("camvid", (736, 960)), ("coco-stuff", (640, 640))],
    )
    def test_presets_show_the_network_the_papers_sizes(self, preset, seen):
        chosen = timing.PRESETS[preset]
        assert network_size(chosen.size, read_card(find_model("camvid-fp32")), chosen.scale) == seen


class TestMachine:
    def test_describes_this_machine(self):
        described = machine.describe_machine()
        assert described.cores >= 1
        assert described.processor in str(described)
        assert f"Python {sys.version.split()[0]}" in str(described)

    @pytest.mark.parametrize(
        ("text", "cores"), [("150000 100000", 1), ("50000 100000", 1), ("max 100000", 64)]
    )
    def test_a_containers_limit_counts(self, monkeypatch, tmp_path, text, cores):
        limit = tmp_path / "cpu.max"
        limit.write_text(text + "\n")
        monkeypatch.setattr(machine, "CGROUP_LIMITS", (limit, tmp_path / "none"))
        monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(64)), False)
        monkeypatch.setattr(machine.os, "cpu_count", lambda: 64)
        assert machine.available_cores() == cores

    def test_the_older_cgroups_limit_counts(self, monkeypatch, tmp_path):
        quota = tmp_path / "cpu.cfs_quota_us"
        quota.write_text("300000\n")
        (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
        monkeypatch.setattr(machine, "CGROUP_LIMITS", (tmp_path / "none", quota))
        monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(64)), False)
        monkeypatch.setattr(machine.os, "cpu_count", lambda: 64)
        assert machine.available_cores() == 3

    def test_without_facts_it_still_says_something(self, monkeypatch, tmp_path):
        monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "none")
        described = machine.describe_machine()
        assert described.instructions == ()
        assert described.processor


class TestLayers:
    """Cost and time of a file's layers, by OpenVINO."""

    def test_macs_are_those_counted_on_the_network_itself(self, layers):
        pytest.importorskip("torch")
        from bisenetv2.network.config import BiSeNetV2Config
        from bisenetv2.network.cost import network_cost

        path, size = find_model("camvid-fp32"), (96, 160)
        counted = network_cost(BiSeNetV2Config(**dict(read_card(path).network)), size)
        found = layers.graph_cost(path, size)
        assert found.macs == counted.macs
        # The file has one value where batch normalisation had a factor and a summand.
        assert 0.99 * counted.parameters < found.parameters < counted.parameters

    def test_layers_add_up_to_the_network(self, layers):
        path = find_model("camvid-fp32")
        frames = np.zeros((1, 64, 96, 3), np.uint8)
        found = layers.time_layers(path, frames, threads=1, runs=2)
        assert sum(layer.macs for layer in found) == layers.graph_cost(path, (64, 96)).macs
        assert {"detail.S1.1.conv", "head.classifier"} <= {layer.name for layer in found}
        times = [layer.milliseconds for layer in found]
        assert times == sorted(times, reverse=True)
        assert times[-1] > 0

    @pytest.mark.parametrize(
        ("precision", "kernel"), [("INT8", "_i8"), ("FP32", "_f32"), ("BF16", "_bf16|_f32")]
    )
    def test_the_peak_is_of_the_precision_it_names(self, layers, precision, kernel):
        peak = layers.convolution_peak(precision, threads=1)
        assert peak.precision == precision
        assert re.search(kernel, peak.kernel.lower())
        assert peak.threads == 1
        assert peak.macs_per_second > 0

    def test_damaged_file(self, layers, tmp_path):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(find_model("camvid-fp32").read_bytes()[:50_000])
        with pytest.raises(UserError, match=r"damaged\.onnx"):
            layers.graph_cost(path, (64, 64))


def test_precision_is_read_off_the_operations(tmp_path):
    onnx = pytest.importorskip("onnx")
    names = {"FP32": ("Relu",), "INT8": ("QuantizeLinear", "DequantizeLinear")}
    for precision, operations in names.items():
        nodes = [onnx.helper.make_node(name, ["x"], ["y"]) for name in operations]
        graph = onnx.helper.make_graph(nodes, "g", [], [])
        onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
        assert timing.precision_of(tmp_path / "model.onnx") == precision


class TestPlainRoad:
    def test_its_arg_max_is_the_exact_one(self, plain_road):
        logits = np.random.default_rng(0).standard_normal((5, 9, 13), np.float32)
        plain = plain_road.plain_argmax(logits, (70, 101))
        assert plain.dtype == np.uint8
        assert np.mean(plain == upsample_argmax(logits, (70, 101))) > 0.9999

    def test_weights_of_a_model_file_are_read_back(self, plain_road):
        network, weights_are_theirs = plain_road.read_network(find_model("camvid-fp32"))
        assert weights_are_theirs
        segmenter = Segmenter("camvid-fp32", scale=1.0)
        plain = plain_road.PlainRoad.of(network, segmenter.card, 1.0, None)
        frame = render_street(0, 0, (128, 160)).image
        network_frame = segmenter.prepare(frame)
        ours, theirs = segmenter.infer(network_frame), plain.infer(network_frame)
        assert np.abs(ours - theirs).max() < 1e-3 * np.abs(ours).max()
        assert np.mean(segmenter(frame) == plain(frame)) > 0.999

    def test_so_are_those_of_a_network_with_biases_of_its_own(self, plain_road, tmp_path):
        torch = pytest.importorskip("torch")
        from bisenetv2.network.checkpoint import load_checkpoint, save_checkpoint

        config = BiSeNetV2Config(num_classes=11, width=0.25, head_width=16, conv_bias=True)
        plain_road.write_untrained(config, (64, 96), tmp_path / "a.safetensors")
        trained, card = load_checkpoint(tmp_path / "a.safetensors")
        with torch.no_grad():
            for tensor in trained.network.state_dict().values():
                if tensor.ndim == 1:  # biases and statistics
                    tensor.uniform_(0.5, 1.5)
        save_checkpoint(tmp_path / "a.safetensors", trained, card)
        plain_road.write_exported(tmp_path / "a.safetensors", tmp_path / "a.onnx")
        network, weights_are_theirs = plain_road.read_network(tmp_path / "a.onnx")
        assert weights_are_theirs
        segmenter = Segmenter(tmp_path / "a.safetensors", scale=1.0)
        plain = plain_road.PlainRoad.of(network, segmenter.card, 1.0, None)
        network_frame = segmenter.prepare(render_street(0, 0, (64, 96)).image)
        ours, theirs = segmenter.infer(network_frame), plain.infer(network_frame)
        assert np.abs(ours - theirs).max() < 1e-3 * np.abs(ours).max()

    def test_weights_it_does_not_find_are_not_claimed(self, plain_road, tmp_path):
        onnx = pytest.importorskip("onnx")
        model = onnx.load(find_model("camvid-fp32"))
        lost = next(x for x in model.graph.initializer if x.name.endswith("S1.0.conv.weight"))
        for node in model.graph.node:
            for index, name in enumerate(node.input):
                if name == lost.name:
                    node.input[index] = "weights"
        lost.name = "weights"
        onnx.save(model, tmp_path / "renamed.onnx")
        network, weights_are_theirs = plain_road.read_network(tmp_path / "renamed.onnx")
        assert not weights_are_theirs
        assert network.network.config.num_classes == 11
        with pytest.raises(UserError, match=r"renamed\.onnx"):
            plain_road.open_in_torch(tmp_path / "renamed.onnx", None)


class TestCommand:
    def test_prints_tables_to_paste_with_all_that_qualifies_them(self, capsys):
        code, out, _ = run(capsys, "benchmark", *SMALL)
        assert code == 0
        for stage in ALL_STAGES[1:]:
            assert stage in out
        assert "frame 96×64 → network 160×96 → mask 96×64" in out  # 1.5 times the sides
        assert "head width 128" in out
        assert "GMAC" in out
        assert machine.describe_machine().processor in out
        tables = [line for line in out.splitlines() if line.startswith("|")]
        assert all(line.endswith("|") for line in tables)

    def test_json_is_one_object(self, capsys):
        code, out, _ = run(capsys, "benchmark", *SMALL, "--threads", "1", "--json")
        result = json.loads(out)
        assert code == 0
        assert (result["frame"], result["network_input"]) == ([64, 96], [96, 160])
        assert (result["runs"], result["warmup"], result["threads"]) == (2, 1, 1)
        (road,) = result["roads"]
        assert list(road["stages"]) == ALL_STAGES
        assert all(s["median_ms"] <= s["p95_ms"] for s in road["stages"].values())
        assert result["model"]["classes"] == 11
        assert result["model"]["trained"]

    def test_profile_lists_layers_with_their_share_of_the_peak(self, capsys):
        pytest.importorskip("openvino")
        _, out, _ = run(capsys, "benchmark", *SMALL, "--profile")
        assert "% of peak" in out
        assert "detail.S1.1.conv" in out

    def test_kinds_of_layers_are_told_by_the_time_they_take(self, capsys):
        pytest.importorskip("openvino")
        _, out, _ = run(capsys, "benchmark", *SMALL, "--profile", "--json")
        result = json.loads(out)
        kinds = {"quick": 0.011, "slow": 0.014}
        result["layers"] = [
            {**result["layers"][0], "kind": kind, "milliseconds": time}
            for kind, time in kinds.items()
        ]
        told = report(result)
        assert 0 < told.index("1 × slow") < told.index("1 × quick")

    def test_profile_without_openvino_in_front_is_refused(self, capsys):
        pytest.importorskip("onnxruntime")
        code, _, err = run(capsys, "benchmark", *SMALL, "--engines", "onnxruntime", "--profile")
        assert code == 2 and "put openvino first" in err

    def test_the_plain_road_is_run_in_turn_with_the_same_answer(self, capsys):
        pytest.importorskip("torch")
        _, out, _ = run(capsys, "benchmark", "camvid-fp32", *SMALL, "--against", "plain", "--json")
        result = json.loads(out)
        assert len(result["against"]["ratios"]) == 2
        assert min(result["against"]["ratios"]) > 0
        assert [road["road"] for road in result["roads"]][-1] == "plain"
        assert result["roads"][-1]["equal_to_first"] > 0.999
        assert "times as fast as the plain road" in report(result)

    def test_all_engines_print_a_row_each(self, capsys):
        pytest.importorskip("torch")
        pytest.importorskip("openvino")
        pytest.importorskip("onnxruntime")
        _, out, _ = run(capsys, "benchmark", "camvid-fp32", *SMALL, "--engines", "all", "--json")
        roads = json.loads(out)["roads"]
        assert [road["road"] for road in roads] == ["openvino", "onnxruntime", "torch"]
        assert all(road["equal_to_first"] > 0.999 for road in roads[1:])

    def test_an_engine_that_is_missing_is_named(self, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        code, out, _ = run(capsys, "benchmark", *SMALL, "--engines", "all")
        assert code == 0
        assert "left out: onnxruntime (this needs onnxruntime: pip install" in out

    def test_an_untrained_network_says_what_its_figures_are_worth(self, capsys):
        pytest.importorskip("torch")
        pytest.importorskip("onnx")
        words = "--classes", "7", "--head-width", "16", "--engines", "torch"
        _, out, _ = run(capsys, "benchmark", *SMALL, *words)
        assert "head width 16, 7 classes" in out
        assert "those of upsample-argmax are not" in out

    @pytest.mark.slow
    def test_an_untrained_network_is_exported_and_run_as_it_would_ship(self, capsys):
        pytest.importorskip("torch")
        pytest.importorskip("onnx")
        words = "--size", "large", "--preset", "coco-stuff", "--scale", "0.1", "--runs", "1"
        _, out, _ = run(capsys, "benchmark", *words, "--against", "plain", "--json")
        result = json.loads(out)
        assert result["roads"][0]["road"] in ("openvino", "onnxruntime")
        assert result["roads"][1]["equal_to_first"] > 0.99
        assert (result["model"]["classes"], result["model"]["head_width"]) == (171, 256)
        assert 18e6 < result["model"]["parameters"] < 18.5e6

    def test_an_image_of_ones_own(self, capsys, tmp_path):
        write_image(tmp_path / "street.png", render_street(0, 0, (70, 101)).image)
        words = "--image", tmp_path / "street.png", "--scale", "1", "--runs", "1", "--warmup", "0"
        _, out, _ = run(capsys, "benchmark", *words)
        assert "frame 101×70 → network 96×64 → mask 101×70" in out
        assert "read (.png)" in out

    def test_runs_where_torch_is_not_installed(self):
        code = (
            "import sys\n"
            "class NoTorch:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'torch': raise ModuleNotFoundError(name, name=name)\n"
            "sys.meta_path.insert(0, NoTorch())\n"
            "from bisenetv2.cli import main\n"
            f"sys.exit(main(['benchmark', *{SMALL!r}, '--engines', 'all']))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "left out: torch" in done.stdout

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("--preset", "camvid", "--frame", "64", "96"), "--preset"),
            (("--image", "none.png"), "none.png"),
            (("none.onnx", *SMALL), "none.onnx"),
            (("none.onnx", "--size", "large"), "none.onnx"),
            (("--frame", "64", "96", "--runs", "0"), "0 runs"),
            (("--frame", "0", "96"), "0"),
            (("--frame", "64", "96", "--scale", "0"), "scale 0"),
            (("--frame", "64", "96", "--threads", "0"), "0 threads"),
        ],
    )
    def test_mistakes_are_named_in_one_line(self, capsys, words, named):
        code, out, err = run(capsys, "benchmark", *words)
        assert code == 2
        assert named in err
        assert len(err.strip().splitlines()) == 1
        assert not out


class TestScripts:
    """The scripts of `benchmarks/`, on small things."""

    @staticmethod
    def load(name):
        path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
        spec = spec_from_file_location(name, path)
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    def test_upsample_argmax(self, capsys, monkeypatch):
        pytest.importorskip("torch")
        script = self.load("upsample_argmax")
        monkeypatch.setattr(script, "SIZE", (128, 256))
        monkeypatch.setattr(script, "STREETS", 1)
        script.main(runs=2, threads=1)
        rows = [line for line in capsys.readouterr().out.splitlines() if "classes |" in line]
        assert len(rows) == 3
        assert "| trained, 11 + 8 classes |" in rows[1]

    def test_training_speed(self, capsys, monkeypatch):
        pytest.importorskip("torch")
        from dataclasses import replace

        monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")  # for its processes
        script = self.load("training_speed")
        monkeypatch.setattr(script, "RECIPE", replace(script.RECIPE, crop=(64, 96), batch=2))
        script.main(steps=1)
        out = capsys.readouterr().out
        assert "| plain loop |" in out
        assert "| recipe camvid" in out

    def test_recipe_trials_give_each_setting_the_same_pixels(self, capsys, monkeypatch):
        pytest.importorskip("torch")
        script, runs = self.load("recipe_trials"), []

        def trained(_, recipe, data):
            runs.append(recipe)
            return (len(runs) % 3) / 10

        monkeypatch.setattr(script, "trained", trained)
        script.main("progressive", data="streets", budget=1000, seeds=2)
        assert [run.seed for run in runs] == [0, 0, 0, 1, 1, 1]
        full, small = 8 * 352 * 480, 16 * 192 * 256
        for run in runs:
            early = run.progressive_share * run.iterations
            pixels = early * small + (run.iterations - early) * full
            assert pixels == pytest.approx(1000 * full, rel=0.002)
        assert "| none | 1000 | 10.0 ± 0.0 | 10.0, 10.0 |" in capsys.readouterr().out

    def test_recipe_trials_name_each_network_to_the_command(self, tmp_path):
        pytest.importorskip("torch")
        from bisenetv2.training.run_folder import RunConfig

        script = self.load("recipe_trials")
        trial = script.TRIALS["networks"]
        for row in trial.rows.values():
            recipe = script.planned(trial.common | row, "streets", 10)
            path = script.write_config(tmp_path / "trial.yaml", recipe, "streets")
            assert RunConfig.read(path).recipe == recipe
        assert len({row.get("network", script.V2) for row in trial.rows.values()}) == 4

    def test_recipe_trials_train_as_a_user_would(self, tmp_path):
        pytest.importorskip("torch")
        script = self.load("recipe_trials")
        tiny = script.BiSeNetV2Config(num_classes=11, width=0.125, head_width=8, booster_width=8)
        fields = {"network": tiny, "batch": 2, "crop": (32, 64), "input_scale": 0.2, "warmup": 1}
        recipe = script.planned({**script.SHORT, **fields, "progressive_share": 0.0}, "streets", 2)
        for _ in range(2):  # the second time it is whole already
            assert 0 <= script.trained(tmp_path / "run", recipe, "streets") <= 1

    def test_written_results_keep_the_sections_that_were_not_run(self, tmp_path):
        script, results = self.load("write_results"), tmp_path / "RESULTS.md"
        command = "```sh\npython -c 'print(6 * 7)'\n```\n"
        first, second = (f"## {title}\n\nWhat.\n\n{command}\n" for title in ("One", "Two"))
        results.write_text(f"# Results\n\n{first}before:\n\n1\n\n{second}before:\n\n2\n")
        script.main(("Two",), to=results)
        stand = rf"\d{{4}}-\d\d-\d\d, bisenetv2 .*{re.escape(str(machine.describe_machine()))}:"
        kept = re.escape(f"# Results\n\n{first}before:\n\n1\n\n{second}")
        assert re.fullmatch(rf"{kept}{stand}\n\n42\n", results.read_text())
        script.main(to=results)
        assert "before" not in results.read_text()
        with pytest.raises(SystemExit, match="no section Three"):
            script.main(("Three",), to=results)

    def test_results_have_a_command_in_every_section(self):
        for path in (Path(__file__).parents[1] / "benchmarks").glob("RESULTS*.md"):
            for section in path.read_text().split("\n## ")[1:]:
                assert re.match(r".*\n\n.*\n\n```sh\n(bisenetv2|python) .*\n```\n", section)
