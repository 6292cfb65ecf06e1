"""The claims of the page "With the rest of PyTorch" about other training loops."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

import torchmanifold as tm

# Other libraries warn of their own calls.
pytestmark = pytest.mark.filterwarnings("default")

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("how", ["parametrized", "riemannian"])
def test_a_trainer_resumes_from_its_checkpoint_to_the_last_bit(how: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    example = _example("lora_trainer")

    def trained(resume: str | None = None) -> torch.nn.Module:
        model = example.adapted(how)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=6,
            save_steps=3,
            per_device_train_batch_size=8,
            learning_rate=1e-2,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        kind = (tm.optim.RiemannianAdam, {"lr": 1e-2}) if how == "riemannian" else None
        trainer = transformers.Trainer(
            model,
            arguments,
            train_dataset=example.sentences(64),
            optimizer_cls_and_kwargs=kind,
        )
        trainer.train(resume_from_checkpoint=resume)
        return model

    whole, resumed = trained(), trained(str(tmp_path / "checkpoint-3"))
    untrained = example.adapted(how)
    assert all(map(torch.equal, whole.parameters(), resumed.parameters()))
    assert not all(map(torch.equal, whole.parameters(), untrained.parameters()))


def test_under_lightning_an_average_resumes_and_its_own_leaves_the_manifold(
    tmp_path: Path,
) -> None:
    lightning = pytest.importorskip("lightning")
    callbacks = importlib.import_module("lightning.pytorch.callbacks")
    example = _example("lightning_averaging")

    class Coordinates(example.Rotation):
        def __init__(self) -> None:
            super().__init__()
            tm.unconstrain(self.net, "weight")
            tm.constrain(self.net, "weight", tm.SpecialOrthogonal())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.2)

    def fit(model: torch.nn.Module, callback: object, steps: int, path: str | None = None) -> None:
        trainer = lightning.Trainer(
            max_steps=steps,
            max_epochs=-1,
            gradient_clip_val=1.0,
            callbacks=[callback],
            default_root_dir=tmp_path,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, example.batches(20), ckpt_path=path, weights_only=False)
        trainer.save_checkpoint(tmp_path / "last.ckpt")

    so = tm.SpecialOrthogonal()
    averages = []
    for path in (None, str(tmp_path / "last.ckpt")):
        model, average = example.Rotation(), example.Average(decay=0.9)
        fit(model, average, 10, path)  # the second is at its last step already
        averages.append(average.net.weight.detach())
    assert torch.equal(*averages) and so.residual(averages[0]) < 1e-5
    for kind, stays in ((Coordinates, True), (example.Rotation, False)):
        model = kind()
        fit(model, callbacks.EMAWeightAveraging(decay=0.9), 20)
        assert (float(so.residual(model.net.weight.detach())) < 1e-5) is stays
