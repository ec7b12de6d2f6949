/**
 * Data on its way to a model: labelled sets, token shards on disk, packing, masking, and the packed
 * batch a step takes.
 */
package dev.graft.data;
