/** JMH benchmarks; {@code ./graft bench jmh} runs them. */
package dev.graft.bench.jmh;
