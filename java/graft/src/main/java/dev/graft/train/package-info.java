/**
 * Training: options, schedules, the trainer, checkpoints with exact resume, and the assembly of
 * tokenizer, data, network and options into pretraining and fine-tuning runs.
 *
 * <p>The state of a run is a closed list (weights, moments, {@link dev.graft.train.Progress} and
 * what {@link dev.graft.train.RunIdentity} names). Data and random draws are functions of an index,
 * so a run that goes on from a checkpoint ends bit-identical to one that never stopped, or is
 * refused with the name of what differs.
 */
package dev.graft.train;
