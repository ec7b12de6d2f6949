/**
 * Devices, arenas, tensors, matrix products and random numbers: what owns native memory and what
 * runs on it. Knows only the bindings.
 */
package dev.graft.runtime;
