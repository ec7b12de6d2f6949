/**
 * Record once, replay many: a training or inference step as a list of prepared native calls over
 * activations laid out by lifetime.
 */
package dev.graft.program;
