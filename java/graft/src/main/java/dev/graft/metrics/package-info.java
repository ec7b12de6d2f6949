/** Metrics as the field reports them. */
package dev.graft.metrics;
