/**
 * Whether a device computes what the CPU computes, and how fast: whole training steps beside each
 * other, and kernels and models beside PyTorch and the device's limits.
 */
package dev.graft.verify;
