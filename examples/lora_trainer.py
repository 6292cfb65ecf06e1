r"""
LoRA factors on Stiefel, under the Trainer
==========================================

This example needs ``transformers``, ``peft`` and ``accelerate``:
``pip install "torchmanifold[training]"``. Its model is tiny and random, so that nothing is
downloaded.

LoRA adds :math:`B A` to a frozen weight. The pair has more freedom than the product: any invertible
:math:`M` gives the same :math:`B M^{-1} M A`, so :math:`A` can grow while :math:`B` shrinks.
If the rows of :math:`A` are orthonormal, only a rotation is left of this freedom, and the size of
the update is the size of :math:`B`.

One line constrains the factors. The script does so in both ways, and the Trainer takes both: as
coordinates, which its own AdamW moves, and as plain parameters, which an optimizer of
``tm.optim`` moves. The final adapter is a plain one of PEFT, which loads without this library.
"""

import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

import torchmanifold as tm

# %%
# A language model of two layers, and sentences to learn: its 32 words in circles, with one of
# three strides.

WORDS, LENGTH = 32, 24


def language_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
    )
    return LlamaForCausalLM(config)


def sentences(count: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    first = torch.randint(WORDS, (count, 1), generator=generator)
    stride = torch.randint(1, 4, (count, 1), generator=generator)
    words = (first + stride * torch.arange(LENGTH)) % WORDS
    return [{"input_ids": row, "labels": row} for row in words]


# %%
# LoRA on every linear layer of the model, with the factors :math:`A` constrained. They are wide:
# ``tm.Stiefel()`` keeps their rows orthonormal.


def adapted(how: str) -> PeftModel:
    config = LoraConfig(r=4, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(language_model(), config)
    for layer in factors(model):
        tm.constrain(layer, "weight", tm.Stiefel(), how=how)
    return model


def factors(model: nn.Module) -> list[nn.Module]:
    return [layer.lora_A["default"] for layer in model.modules() if isinstance(layer, LoraLayer)]


# %%
# Two callbacks. The first moves the bases of the coordinates after every few steps. The Trainer
# wraps its optimizer, and the hook belongs to the wrapped one. The second callback clips by the
# Riemannian norm, because the part of a gradient that is normal to a manifold moves nothing and
# should not count. The Trainer's own clipping, by the Euclidean norm, is then turned off
# (``max_grad_norm=0``).


class RebaseEvery(TrainerCallback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_begin(self, args, state, control, *, model, optimizer, **kwargs) -> None:
        inner = getattr(optimizer, "optimizer", optimizer)
        self.handle = tm.optim.rebase_every(model, inner, self.steps)

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.handle.remove()


class ClipRiemannian(TrainerCallback):
    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def on_pre_optimizer_step(self, args, state, control, *, model, **kwargs) -> None:
        tm.optim.clip_grad_norm_(model, self.max_norm)


# %%
# The Trainer needs no other change. Its ``optimizer_cls_and_kwargs`` takes a class of ``tm.optim``
# like any other. A step accumulates two batches.


def train(model: PeftModel, how: str, steps: int, folder: str) -> tuple[float, float]:
    """Train, and return the losses of the first and the last tenth of the steps."""
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=1e-2,
        max_grad_norm=0,
        logging_steps=max(1, steps // 10),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    riemannian = how == "riemannian"
    kind = (tm.optim.RiemannianAdam, {"lr": arguments.learning_rate}) if riemannian else None
    callbacks = [ClipRiemannian(1.0)] if riemannian else [RebaseEvery(steps=10)]
    trainer = Trainer(
        model,
        arguments,
        train_dataset=sentences(256),
        optimizer_cls_and_kwargs=kind,
        callbacks=callbacks,
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses[0], losses[-1]


# %%
# A weight under ``how="riemannian"`` is a plain parameter, and PEFT saves it as it is. Coordinates
# must first become plain weights by ``tm.unconstrain``, which keeps the value. Either adapter then
# loads into a model without constraints, which computes the same.


def save(model: PeftModel, folder: str) -> None:
    for layer in factors(model):
        if tm.is_constrained(layer, "weight"):
            tm.unconstrain(layer, "weight")
    model.save_pretrained(folder)


def main(steps: int = 60) -> dict[str, dict[str, float]]:
    """Train both ways; losses, the largest residual, and the difference of the loaded adapter."""
    words = torch.stack([sentence["input_ids"] for sentence in sentences(4)])
    found = {}
    for how in ("parametrized", "riemannian"):
        model = adapted(how)
        with tempfile.TemporaryDirectory() as folder:
            first, last = train(model, how, steps, folder)
            residual = max(float(row.residual) for row in tm.report(model))
            with torch.no_grad():
                outputs = model.eval()(words).logits
            save(model, folder)
            plain = PeftModel.from_pretrained(language_model(), folder).eval()
            with torch.no_grad():
                difference = float((plain(words).logits - outputs).abs().max())
        found[how] = {
            "first": first,
            "last": last,
            "residual": residual,
            "difference": difference,
        }
        print(f"{how}: loss {first:.3f} -> {last:.3f}, residual {residual:.1e}")
    return found


if __name__ == "__main__":
    main()
