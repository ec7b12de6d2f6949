/**
 * Benchmarks beside libtorch in the same JVM: one case a kernel and shape, which serves the
 * comparison of results and the comparison of times alike.
 */
package dev.graft.bench;
