"""Official PyTorch as a peer that `graft bench --pytorch PYTHON` times in turn with Graft.

    python torch_peers.py [--device cpu|cuda] [--threads N]

Reads one JSON object a line on standard input and answers each with one line on standard output:

    {"prepare": {"op": "attention", ...}}   -> {"ready": true, "graph": bool} once the case has run
    {"run": N}                              -> {"seconds": [N times]} of the case prepared last
    {"info": true}                          -> versions, threads, device

A failure answers {"error": "..."} and the process goes on; with "lost": true it ends, for its card
no longer works. Cases (sizes are integers, dtype is fp32
or bf16, "backward": true adds the backward pass):

    attention   batch, heads, tokens, head_dim, causal, dropout, backend (auto, flash, cudnn,
                efficient, math): scaled_dot_product_attention of [B, H, T, D]
    decode      batch, heads, head_dim, cache: one query against its keys and values
    activation  rows, channels, form (tanh, erf): GELU of x + bias
    add_norm    rows, channels: LayerNorm of residual + x; with backward also the bias gradient
    classifier  rows, vocabulary: mean cross-entropy, forward and backward
    embedding   tokens, channels, vocabulary, positions: word + position + segment, both passes
    adamw       sizes: clip_grad_norm_ and one step of AdamW, fused; bf16 copies the weights
    gemm        m, n, k: linear with bias
    step        model (gpt2, bert-mlm, bert-classifier), layers, heads, channels, vocabulary,
                positions, lengths (of each sequence; padded to the longest), labels, mode (eager,
                compile): a training step of transformers' model with SDPA attention: forward,
                backward, clip, fused AdamW; bf16 is autocast over fp32 weights, as users train
    generate    model (gpt2) as above, batch, prompt, tokens: greedy generation; seconds a token

activation, add_norm and classifier take "mode": "compile" as well. "repeat": N does a case N times
between two looks at the clock, each time on inputs of its own, and gives the seconds of one; "graph":
true captures those N into a CUDA graph, so that kernels are compared and not Python.

Inputs are random; times are wall-clock around synchronised calls (CUDA events would leave out the
time a launch takes, which a caller waits for as well).
"""

import argparse
import contextlib
import json
import os
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
OPS = "attention decode activation add_norm classifier embedding adamw gemm step generate".split()


class Peer:
    def __init__(self, device):
        self.device = torch.device(device)
        self.case = None
        self.times = 1

    def tensor(self, dtype, *shape, grad=False):
        values = torch.randn(*shape, device=self.device, dtype=torch.float32).to(dtype)
        return values.requires_grad_(grad)

    def integers(self, high, *shape):
        return torch.randint(high, shape, device=self.device)

    # ---- cases: each returns what is timed

    def attention(self, c, dtype):
        shape = (c["batch"], c["heads"], c["tokens"], c["head_dim"])
        backward = c.get("backward", False)
        q, k, v = (self.tensor(dtype, *shape, grad=backward) for _ in range(3))
        out_grad = self.tensor(dtype, *shape)
        engine = attention_engine(c.get("backend", "auto"))

        def run():
            with engine(), torch.set_grad_enabled(backward):
                out = F.scaled_dot_product_attention(
                    q, k, v, dropout_p=c.get("dropout", 0.0), is_causal=c.get("causal", False)
                )
                if backward:
                    torch.autograd.grad(out, (q, k, v), out_grad)

        return run

    def decode(self, c, dtype):
        q = self.tensor(dtype, c["batch"], c["heads"], 1, c["head_dim"])
        k, v = (
            self.tensor(dtype, c["batch"], c["heads"], c["cache"], c["head_dim"]) for _ in range(2)
        )

        @torch.no_grad()
        def run():
            F.scaled_dot_product_attention(q, k, v)

        return run

    def activation(self, c, dtype):
        backward = c.get("backward", False)
        x = self.tensor(dtype, c["rows"], c["channels"], grad=backward)
        bias = self.tensor(dtype, c["channels"], grad=backward)
        y_grad = self.tensor(dtype, c["rows"], c["channels"])
        approximate = "tanh" if c["form"] == "tanh" else "none"
        gelu = in_mode(c, lambda x, bias: F.gelu(x + bias, approximate=approximate))

        def run():
            with torch.set_grad_enabled(backward):
                y = gelu(x, bias)
                if backward:
                    torch.autograd.grad(y, (x, bias), y_grad)

        return run

    def add_norm(self, c, dtype):
        rows, channels, backward = c["rows"], c["channels"], c.get("backward", False)
        x, residual = (self.tensor(dtype, rows, channels, grad=backward) for _ in range(2))
        gamma, beta = (self.tensor(dtype, channels, grad=backward) for _ in range(2))
        out_grad, sum_grad = (self.tensor(dtype, rows, channels) for _ in range(2))

        def forward(x, residual, gamma, beta):
            s = residual + x
            return s, F.layer_norm(s, (channels,), gamma, beta)

        forward = in_mode(c, forward)

        def run():
            with torch.set_grad_enabled(backward):
                s, out = forward(x, residual, gamma, beta)
                if backward:
                    grads = torch.autograd.grad(
                        (out, s), (x, residual, gamma, beta), (out_grad, sum_grad)
                    )
                    grads[0].sum(0)

        return run

    def classifier(self, c, dtype):
        logits = self.tensor(dtype, c["rows"], c["vocabulary"], grad=True)
        targets = self.integers(c["vocabulary"], c["rows"])
        loss = in_mode(c, F.cross_entropy)

        def run():
            torch.autograd.grad(loss(logits, targets), logits)

        return run

    def embedding(self, c, dtype):
        sizes = (c["vocabulary"], c["positions"], 2)
        tables = [self.tensor(dtype, n, c["channels"], grad=True) for n in sizes]
        ids = [self.integers(n, c["tokens"]) for n in sizes]
        out_grad = self.tensor(dtype, c["tokens"], c["channels"])

        def run():
            out = sum(F.embedding(i, table) for i, table in zip(ids, tables))
            torch.autograd.grad(out, tables, out_grad)

        return run

    def adamw(self, c, dtype):
        weights = [self.tensor(torch.float32, n, grad=True) for n in c["sizes"]]
        for w in weights:
            w.grad = torch.randn_like(w)
        optimizer = torch.optim.AdamW(
            weights,
            lr=1e-4,
            weight_decay=0.01,
            fused=True,
            capturable=self.device.type == "cuda",
        )
        copies = [torch.empty_like(w, dtype=dtype) for w in weights]

        def run():
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            if dtype != torch.float32:
                with torch.no_grad():
                    torch._foreach_copy_(copies, weights)

        return run

    def gemm(self, c, dtype):
        x = self.tensor(dtype, c["m"], c["k"])
        w = self.tensor(dtype, c["n"], c["k"])
        bias = self.tensor(dtype, c["n"])

        @torch.no_grad()
        def run():
            F.linear(x, w, bias)

        return run

    def step(self, c, dtype):
        model = training_model(c).to(self.device).train()
        inputs = self.batch(c)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
        called = in_mode(c, model)
        mixed = (
            torch.autocast(self.device.type, torch.bfloat16)
            if dtype == torch.bfloat16
            else contextlib.nullcontext()
        )

        def run():
            optimizer.zero_grad()
            with mixed:
                loss = called(**inputs).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        return run

    def batch(self, c):
        lengths = torch.tensor(c["lengths"], device=self.device)
        longest = int(lengths.max())
        ids = self.integers(c["vocabulary"], len(lengths), longest)
        live = torch.arange(longest, device=self.device) < lengths[:, None]
        inputs = {"input_ids": ids}
        # Full batches take no mask, so that SDPA may choose its fastest engine.
        if not bool(live.all()):
            inputs["attention_mask"] = live.long()
        if c["model"] == "bert-classifier":
            inputs["labels"] = self.integers(c["labels"], len(lengths))
        elif c["model"] == "bert-mlm":
            masked = live & (torch.rand(ids.shape, device=self.device) < 0.15)
            inputs["labels"] = torch.where(masked, ids, -100)
        else:
            inputs["labels"] = torch.where(live, ids, -100)
        return inputs

    def generate(self, c, dtype):
        model = training_model(c).to(self.device, dtype).eval()
        ids = self.integers(c["vocabulary"], c["batch"], c["prompt"])
        settings = {
            "attention_mask": torch.ones_like(ids),
            "max_new_tokens": c["tokens"],
            "min_new_tokens": c["tokens"],
            "do_sample": False,
            "use_cache": True,
            "pad_token_id": 0,
        }

        @torch.no_grad()
        def run():
            model.generate(ids, **settings)

        return run

    # ---- protocol

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def prepare(self, case):
        self.case = None  # frees the last one's memory first
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        torch.manual_seed(1)
        if case["op"] not in OPS:
            raise ValueError(f"op: expected one of {', '.join(OPS)}, got {case['op']}")
        times = int(case.get("repeat", 1))
        make = getattr(self, case["op"])
        runs = [make(case, DTYPES[case["dtype"]]) for _ in range(times)]

        def run():
            for one in runs:
                one()

        run()
        self.synchronize()
        graph = bool(case.get("graph")) and self.device.type == "cuda"
        self.case = self.captured(run) if graph else run
        self.times = times * (case["tokens"] if case["op"] == "generate" else 1)
        return {"ready": True, "graph": graph}

    def works(self):
        """Whether the device does: after some errors it never does again in a process."""
        try:
            self.synchronize()
            return True
        except RuntimeError:
            return False

    def captured(self, run):
        """A replay of the run as one CUDA graph."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # what is allocated or compiled late must be there by now
                run()
        torch.cuda.current_stream().wait_stream(side)
        self.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    def run(self, count):
        if self.case is None:
            raise ValueError("run before prepare")
        self.case()  # wakes threads and caches, as Graft's turn does
        self.synchronize()
        seconds = []
        for _ in range(count):
            begin = time.perf_counter()
            self.case()
            self.synchronize()
            seconds.append((time.perf_counter() - begin) / self.times)
        return {"seconds": seconds}

    def info(self):
        import transformers

        cuda = self.device.type == "cuda"
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if cuda else "cpu",
        }

    def answer(self, request):
        if "prepare" in request:
            return self.prepare(request["prepare"])
        if "run" in request:
            return self.run(int(request["run"]))
        if "info" in request:
            return self.info()
        raise ValueError(f"expected prepare, run or info, got {sorted(request)}")


def in_mode(c, function):
    """The function, compiled if the case asks for that."""
    return torch.compile(function) if c.get("mode") == "compile" else function


def attention_engine(name):
    """A context that holds scaled_dot_product_attention to one engine."""
    if name == "auto":
        return contextlib.nullcontext
    from torch.nn.attention import SDPBackend, sdpa_kernel

    engine = {
        "flash": SDPBackend.FLASH_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "math": SDPBackend.MATH,
    }[name]
    return lambda: sdpa_kernel(engine)


def training_model(c):
    import transformers

    if c["model"] == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=c["vocabulary"],
            n_positions=c["positions"],
            n_embd=c["channels"],
            n_layer=c["layers"],
            n_head=c["heads"],
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
            attn_implementation="sdpa",
        )
        return transformers.GPT2LMHeadModel(config)
    config = transformers.BertConfig(
        vocab_size=c["vocabulary"],
        max_position_embeddings=c["positions"],
        hidden_size=c["channels"],
        num_hidden_layers=c["layers"],
        num_attention_heads=c["heads"],
        intermediate_size=4 * c["channels"],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=c.get("labels", 2),
        attn_implementation="sdpa",
    )
    if c["model"] == "bert-mlm":
        return transformers.BertForMaskedLM(config)
    if c["model"] == "bert-classifier":
        return transformers.BertForSequenceClassification(config)
    raise ValueError(f"model: expected gpt2, bert-mlm or bert-classifier, got {c['model']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"PyTorch {torch.__version__} sees no CUDA device")
    # Libraries and what they start may print; only answers go to the caller.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    peer = Peer(args.device)
    for line in sys.stdin:
        try:
            reply = peer.answer(json.loads(line))
        except Exception as e:  # the caller decides what a failed case means
            reply = {"error": f"{type(e).__name__}: {e}"}
        lost = "error" in reply and not peer.works()
        if lost:
            reply["lost"] = True
        print(json.dumps(reply), file=answers, flush=True)
        if lost:
            return


if __name__ == "__main__":
    main()
