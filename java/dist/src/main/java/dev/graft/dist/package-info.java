/**
 * Data parallelism: several processes train one network, each on its share of every optimizer
 * step's batches, over PyTorch's c10d process groups (Gloo between processors, NCCL between CUDA
 * devices).
 *
 * <p>{@link dev.graft.dist.Rendezvous} says who meets where, {@link dev.graft.dist.ProcessGroup} is
 * the connection, {@link dev.graft.dist.DataParallel} is what the trainer is given.
 */
package dev.graft.dist;
