/**
 * GPT-2 and BERT: configuration, parameters under their published names, and the forward and
 * backward pass of each, written out from top to bottom in {@link dev.graft.model.Gpt2} and {@link
 * dev.graft.model.Bert}. Tokens are packed; nothing is padded.
 */
package dev.graft.model;
