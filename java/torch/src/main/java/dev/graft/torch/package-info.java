/** Graft's kernels on tensors of libtorch ({@code org.bytedeco.pytorch}), without a copy. */
package dev.graft.torch;
