/*
 * Graft: fused kernels for training and applying GPT and BERT. The whole C ABI, version 1.
 *
 * Conventions
 *   - Every function returns a graft_status and never throws, exits or aborts. On failure
 *     graft_last_error() of the calling thread names the op, the argument, what was expected and
 *     what came.
 *   - An op is `graft_<op>(context, const graft_<op>_args*)`. The context decides the backend. The
 *     argument struct is filled once and may be used for many calls; set `struct_size` to
 *     sizeof(struct) and zero the rest before filling it. It holds what is constant for a recorded
 *     step. What changes from step to step (learning rate, RNG step, live sequence count, loss
 *     normaliser, skip flag, Adam's t) is read from the context's step state.
 *   - Pointers are to memory of the context's device. Sizes and strides are int64_t and count
 *     elements, unless the name says bytes. Rows are contiguous in their last axis. A stride of 0
 *     means "packed" (the product of the inner sizes).
 *   - Pointers are aligned to their element; alignment to 64 bytes is fastest. No argument may
 *     overlap another unless its comment says "may alias".
 *   - Shape letters: B sequences, T tokens (packed, all sequences of a batch one after the other),
 *     H heads, D head dim, C channels, V vocabulary, R rows.
 *   - dtype arguments: GRAFT_FLOAT32 or GRAFT_BFLOAT16 for activations and weights. Statistics,
 *     gradients of parameters and optimizer state are always float32.
 *   - Every op is deterministic: same inputs, same library, same instruction set, same bits,
 *     whatever the number of threads.
 *   - One thread a context at a time. Different contexts may be used by different threads at once.
 */
#ifndef GRAFT_GRAFT_H
#define GRAFT_GRAFT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#ifdef GRAFT_BUILD
#define GRAFT_API __declspec(dllexport)
#else
#define GRAFT_API __declspec(dllimport)
#endif
#else
#define GRAFT_API __attribute__((visibility("default")))
#endif

#define GRAFT_ABI_VERSION 1

/* ---------------------------------------------------------------- status, types, versions ---- */

typedef enum graft_status {
  GRAFT_OK = 0,
  GRAFT_INVALID_SHAPE = 1,     /* a size, stride, count or value is out of range               */
  GRAFT_INVALID_DTYPE = 2,     /* a dtype the op does not take                                 */
  GRAFT_INVALID_ALIGNMENT = 3, /* a pointer is not aligned to its element                      */
  GRAFT_INVALID_ARGUMENT = 4,  /* a null pointer, an unknown flag, a struct of the wrong size  */
  GRAFT_UNSUPPORTED = 5,       /* right, but this backend or machine cannot do it              */
  GRAFT_OUT_OF_MEMORY = 6,     /* the message says how many bytes were asked for               */
  GRAFT_DEVICE_ERROR = 7,      /* the device reported an error for this or an earlier call     */
  GRAFT_DEVICE_LOST = 8,       /* an earlier error was fatal to the device in this process     */
  GRAFT_INTERNAL = 9           /* a defect of the library                                      */
} graft_status;

typedef enum graft_dtype {
  GRAFT_FLOAT32 = 0,
  GRAFT_BFLOAT16 = 1,
  GRAFT_INT32 = 2,
  GRAFT_FLOAT8_E4M3 = 3, /* 448 is the largest, no infinity: graft_quantize alone makes them    */
  GRAFT_FLOAT8_E5M2 = 4  /* 57344 is the largest finite                                         */
} graft_dtype;

typedef enum graft_backend { GRAFT_CPU = 0, GRAFT_CUDA = 1 } graft_backend;

/* Instruction sets of the CPU backend, in rising order. */
typedef enum graft_isa {
  GRAFT_ISA_BASELINE = 0,
  GRAFT_ISA_AVX2 = 1,       /* AVX2 + FMA                            */
  GRAFT_ISA_AVX512 = 2,     /* AVX-512 F, BW, DQ, VL                 */
  GRAFT_ISA_AVX512_BF16 = 3 /* the above with AVX512_BF16            */
} graft_isa;

/* GRAFT_ABI_VERSION of the library that was loaded. */
GRAFT_API int graft_abi_version(void);
/* "0.1.0" */
GRAFT_API const char* graft_version(void);
/* The constant's name, for example "GRAFT_INVALID_SHAPE". */
GRAFT_API const char* graft_status_name(int status);
/* The last failure of the calling thread; "" if none. Valid until the thread's next failure. */
GRAFT_API const char* graft_last_error(void);
/* The instruction set in use: the highest the processor has, or less if limited. */
GRAFT_API int graft_cpu_isa(void);
/* Limits the instruction set from now on (tests, comparisons). Higher than the processor's own:
   GRAFT_UNSUPPORTED. Not to be called while another thread runs an op. */
GRAFT_API int graft_cpu_limit_isa(int isa);

/* ---------------------------------------------------------------- context -------------------- */

typedef struct graft_context graft_context;

typedef struct graft_context_options {
  int64_t struct_size;
  int32_t backend; /* graft_backend                                                           */
  int32_t device;  /* CUDA device index; 0 on the CPU                                         */
  int32_t threads; /* CPU threads an op may use; 0 = OpenMP's default                         */
  int32_t reserved;
  void* stream; /* CUDA: a caller's cudaStream_t to order on, not owned; NULL = a stream of
                   the context's own. CPU: must be NULL.                                      */
} graft_context_options;

/* Loads a backend plugin (libgraft_cuda.so) from an absolute path; once a process. GRAFT_UNSUPPORTED
   with the loader's own words if it cannot be loaded or its ABI version differs. */
GRAFT_API int graft_load_backend(int backend, const char* path);
/* 1 if contexts of this backend can be created now, else 0 (graft_last_error() says why). */
GRAFT_API int graft_backend_available(int backend);

/* What a device of an available backend is. */
typedef struct graft_device_info {
  int64_t struct_size;
  char name[128];       /* as the driver calls it; "cpu" on the CPU                            */
  int64_t memory_bytes; /* of its own; 0 on the CPU                                            */
  int32_t capability;   /* CUDA: 10 * major + minor, for example 90; CPU: 0                    */
  int32_t multiprocessors; /* CUDA; CPU: 0                                                     */
  int32_t driver_version;  /* CUDA version the driver supports: 1000 * major + 10 * minor; 0   */
  int32_t runtime_version; /* CUDA version of the plugin's runtime, counted as above; CPU: 0   */
} graft_device_info;
/* Devices of a backend; 1 on the CPU. GRAFT_UNSUPPORTED if the backend is not available. */
GRAFT_API int graft_device_count(int backend, int32_t* count);
/* Describes one; struct_size must be set. */
GRAFT_API int graft_device_describe(int backend, int32_t device, graft_device_info* info);

GRAFT_API int graft_context_create(const graft_context_options* options, graft_context** context);
/* Waits for the context's work, then frees it. NULL is allowed. Memory from graft_malloc stays. */
GRAFT_API int graft_context_destroy(graft_context* context);
/* Makes the calling thread the context's: sets the device, and the thread count of OpenMP regions
   of other libraries (oneDNN) in this thread to the context's own, so that both agree. */
GRAFT_API int graft_context_activate(graft_context* context);
/* Threads an op of this context uses (CPU), 0 on other backends. */
GRAFT_API int graft_context_threads(graft_context* context);
/* Returns when all work of the context is done; reports asynchronous errors. */
GRAFT_API int graft_synchronize(graft_context* context);
/* The cudaStream_t the context orders its work on, for libraries that enqueue there (cuBLASLt); it
   stays the context's. NULL on the CPU. */
GRAFT_API int graft_context_stream(graft_context* context, void** stream);

/* Device memory, 64-byte aligned at least (256 on CUDA). Not initialised. bytes = 0 gives NULL. */
GRAFT_API int graft_malloc(graft_context* context, int64_t bytes, void** address);
GRAFT_API int graft_free(graft_context* context, void* address);
/* What graft_malloc can still give, and all there is: of the CUDA device, or of the host (what its
   control group may have, if that is less). INT64_MAX where the system does not say. */
GRAFT_API int graft_memory_info(graft_context* context, int64_t* free_bytes, int64_t* total_bytes);

typedef enum graft_copy_kind {
  GRAFT_HOST_TO_DEVICE = 0,
  GRAFT_DEVICE_TO_HOST = 1,
  GRAFT_DEVICE_TO_DEVICE = 2
} graft_copy_kind;
/* Ordered on the context's stream. Host memory must stay valid until the next synchronisation. */
GRAFT_API int graft_memcpy(graft_context* context, void* to, const void* from, int64_t bytes,
                           int kind);
GRAFT_API int graft_memset(graft_context* context, void* address, int value, int64_t bytes);

/* Host memory that a device copies from and to at full speed and without the caller waiting
   (page-locked on CUDA), 64-byte aligned at least. Not initialised. bytes = 0 gives NULL. */
GRAFT_API int graft_host_malloc(graft_context* context, int64_t bytes, void** address);
GRAFT_API int graft_host_free(graft_context* context, void* address);

/* A place in the order of the stream: it is reached when all work that was enqueued before its last
   graft_event_record is done. Not within a capture. On the CPU it is reached at once. */
typedef struct graft_event graft_event;
GRAFT_API int graft_event_create(graft_context* context, graft_event** event);
GRAFT_API int graft_event_record(graft_context* context, graft_event* event);
/* Returns when the event is reached; at once if it was never recorded. */
GRAFT_API int graft_event_synchronize(graft_context* context, graft_event* event);
/* Milliseconds between two recorded events; waits for the second. */
GRAFT_API int graft_event_elapsed(graft_context* context, graft_event* begin, graft_event* end,
                                  float* milliseconds);
GRAFT_API int graft_event_destroy(graft_context* context, graft_event* event);

/* Runs function(user) on a thread of the host, in the order of the stream; captured like a kernel.
   The function must not call Graft or CUDA with this context. On the CPU it runs at once. */
typedef void (*graft_host_function)(void* user);
GRAFT_API int graft_host_enqueue(graft_context* context, graft_host_function function, void* user);

/* Capture of a sequence of calls into one graph (CUDA graphs). CPU: GRAFT_UNSUPPORTED. */
typedef struct graft_graph graft_graph;
GRAFT_API int graft_capture_begin(graft_context* context);
GRAFT_API int graft_capture_end(graft_context* context, graft_graph** graph);
GRAFT_API int graft_graph_launch(graft_context* context, graft_graph* graph);
GRAFT_API int graft_graph_destroy(graft_context* context, graft_graph* graph);

/* ---------------------------------------------------------------- step state ----------------- */

#define GRAFT_LOSS_SLOTS 4

/* What the host decides before a step. */
typedef struct graft_step_inputs {
  int64_t struct_size;
  uint64_t seed;     /* of every random draw                                                  */
  uint64_t step;     /* RNG step: differs for each forward pass (micro-step)                  */
  float lr;          /* learning rate of the next optimizer step                              */
  int32_t sequences; /* live sequences B; 0 = the `batch` of each op's arguments              */
  float loss_scale[GRAFT_LOSS_SLOTS]; /* factor of dlogits for each loss: usually 1 / (labels of
                        that loss, or the sum of their weights, in the whole optimizer step)  */
} graft_step_inputs;

/* What the device counts. */
typedef struct graft_step_results {
  int64_t struct_size;
  double loss_sum[GRAFT_LOSS_SLOTS];    /* sum of the losses of counted labels since the reset */
  double loss_weight[GRAFT_LOSS_SLOTS]; /* sum of their weights: what the mean divides by; equal
                                           to loss_count where the op has no class weights    */
  int64_t loss_count[GRAFT_LOSS_SLOTS]; /* labels counted since the reset                     */
  int64_t adam_t;                       /* optimizer steps applied (skipped ones not counted) */
  int64_t skipped_steps;                /* optimizer steps skipped for a non-finite norm      */
  float grad_norm;                      /* of the last graft_grad_norm, before clipping       */
  float clip_coefficient;               /* min(1, max_norm / grad_norm) of it                 */
  int32_t skip;                         /* 1 if that norm was not finite                      */
  int32_t reserved;
} graft_step_results;

/* Writes the inputs, ordered on the stream. */
GRAFT_API int graft_step_begin(graft_context* context, const graft_step_inputs* inputs);
/* Sets loss_sum, loss_weight and loss_count to 0, ordered on the stream. */
GRAFT_API int graft_loss_reset(graft_context* context);
/* Synchronises and reads. struct_size must be set. */
GRAFT_API int graft_step_read(graft_context* context, graft_step_results* results);
/* Writes adam_t, skipped_steps, loss_sum, loss_weight and loss_count (resume). */
GRAFT_API int graft_step_restore(graft_context* context, const graft_step_results* results);

/* ---------------------------------------------------------------- random numbers ------------- *
 * Philox 4x32-10 (Salmon et al., SC 2011). words(key, c0, c1, c2, c3) gives four 32-bit words.
 *   stream key of an op:  key' = first two words (low, high) at (step low, step high, op_id, 0)
 *                         under key = seed
 * A dropout probability is k/256 with k = `dropout` in 0..255: an element is dropped if its byte is
 * < k, kept values are multiplied by 256 / (256 - k). Byte j (0..15) of a counter is byte j%4 (little
 * endian) of word j/4.
 *   hidden dropout, element (row, col):   byte col%16 at (col/16, row, 0, 0) under key'
 *   attention dropout (b, h, query i, key j; i, j counted inside their sequence):
 *                                         byte j%16 at (j/16, i, h, b)    under key'
 * op_id tells the draws of different layers and places in a step apart; the caller numbers them.
 */

/* Fills out[0..count) with N(mean, std) (kind 0: Box-Muller on pairs) or U[low, high) (kind 1).
   Element e takes word e%4 at counter (e/4 low, e/4 high, 0, 0) under key' = stream key of
   (seed, step = 0, op_id = stream). Uniform u = (word >> 8) * 2^-24; the normal of element e with
   words (a, b) of its pair (e and e^1, even one first): r = sqrt(-2 ln((a>>8)+1) 2^-24)),
   phi = 2 pi (b>>8) 2^-24; even: r cos phi, odd: r sin phi. Evaluated in double. */
typedef struct graft_random_args {
  int64_t struct_size;
  void* out;     /* [count]                                                                   */
  int64_t count; /* >= 0                                                                      */
  uint64_t seed;
  uint32_t stream;
  int32_t kind;  /* 0 normal, 1 uniform                                                       */
  int32_t dtype; /* of out                                                                    */
  float a;       /* mean or low                                                               */
  float b;       /* standard deviation (>= 0) or high (>= low)                                */
  int32_t reserved;
} graft_random_args;
GRAFT_API int graft_random(graft_context*, const graft_random_args*);

/* ---------------------------------------------------------------- attention ------------------ *
 * O = softmax(scale * Q K^T + mask) V for each sequence and head, never materialised
 * (Dao 2023, arXiv:2307.08691, algorithms 1 and 2). Sequence b owns the rows
 * [cu_seqlens_q[b], cu_seqlens_q[b+1]) of q and out, and [cu_seqlens_k[b], cu_seqlens_k[b+1]) of k
 * and v. Causal: query i sees key j if j <= i + (len_k - len_q) (aligned at the bottom right).
 * Dropout acts on the normalised probabilities. A row that sees no key gives output 0, log-sum-exp
 * -inf and gradients 0. Zero-length sequences are allowed.
 * lse[h * tokens_q + t] = ln sum_j exp(scale q_t.k_j), natural logarithm, float32.
 * Element (t, h, d) of q is q[t * q_token_stride + h * D + d]: packed QKV of shape [T, 3, H, D] is
 * q_token_stride = 3HD with k = q + HD, v = q + 2HD. Any D in 1..256; fast: 32, 64, 96, 128.
 * Rows of out (dq, dk, dv) of live sequences are written in full; other rows are not touched.
 * engine says which kernel computes it. One that cannot serve the call on this device gives
 * GRAFT_UNSUPPORTED with the reason; nothing else is taken in its place.
 */
typedef enum graft_attention_engine {
  GRAFT_ATTENTION_AUTO = 0, /* the library's choice; on CUDA BASE until the others were timed     */
  GRAFT_ATTENTION_BASE = 1, /* any device, any arguments                                      */
  GRAFT_ATTENTION_SM90 = 2  /* CUDA, compute capability 9.0: bfloat16, D a multiple of 8 up to 128
                               (backward: 64); q, k, v, dout aligned to 16 bytes, their token strides
                               multiples of 8 elements                                         */
} graft_attention_engine;
typedef struct graft_attention_args {
  int64_t struct_size;
  const void* q; /* [tokens_q, H, D] by stride                                                */
  const void* k; /* [tokens_k, H, D] by stride                                                */
  const void* v; /* [tokens_k, H, D] by stride                                                */
  void* out;     /* [tokens_q, H, D] by stride; read by the backward pass                     */
  float* lse;    /* [H, tokens_q]; read by the backward pass                                  */
  const int32_t* cu_seqlens_q; /* [batch + 1], rising, first 0                                */
  const int32_t* cu_seqlens_k; /* [batch + 1]; may be the same array                          */
  const void* dout;            /* backward: [tokens_q, H, D] by stride                        */
  void* dq;                    /* backward: [tokens_q, H, D] by stride                        */
  void* dk;                    /* backward: [tokens_k, H, D] by stride                        */
  void* dv;                    /* backward: [tokens_k, H, D] by stride                        */
  void* workspace;             /* graft_attention_workspace() bytes; may be NULL if that is 0 */
  int64_t workspace_bytes;
  int64_t q_token_stride, k_token_stride, v_token_stride, out_token_stride;
  int64_t dout_token_stride, dq_token_stride, dk_token_stride, dv_token_stride;
  int64_t tokens_q, tokens_k; /* rows of the arrays (the bucket)                              */
  int64_t batch;              /* most sequences                                               */
  int64_t heads;
  int64_t head_dim;
  int64_t max_seqlen_q, max_seqlen_k; /* upper bounds of the lengths                          */
  float scale;                        /* usually 1 / sqrt(D)                                  */
  int32_t causal;                     /* 0 or 1                                               */
  int32_t dropout;                    /* k of k/256                                           */
  uint32_t op_id;                     /* see random numbers                                   */
  int32_t dtype;                      /* of q, k, v, out and their gradients                  */
  int32_t engine;                     /* graft_attention_engine                               */
} graft_attention_args;
/* Bytes of workspace for the forward (backward = 0) or backward (1) call. */
GRAFT_API int graft_attention_workspace(graft_context*, const graft_attention_args*, int backward,
                                        int64_t* bytes);
GRAFT_API int graft_attention_forward(graft_context*, const graft_attention_args*);
GRAFT_API int graft_attention_backward(graft_context*, const graft_attention_args*);

/* Appends keys and values of the current tokens to a cache. Sequence b of the packed k, v (rows by
 * cu_seqlens; NULL = one token a sequence) is written to cache positions lengths[b] .. of b, taken
 * modulo cache_capacity (a ring). lengths is not changed. */
typedef struct graft_kv_append_args {
  int64_t struct_size;
  const void* k; /* [T, H, D] by stride                                                       */
  const void* v;
  void* k_cache; /* [B, H, cache_capacity, D] packed                                       */
  void* v_cache; /* [B, H, cache_capacity, D] packed                                       */
  const int32_t* cu_seqlens; /* [batch + 1] or NULL                                           */
  const int32_t* lengths;    /* [batch]: tokens in the cache so far                           */
  int64_t k_token_stride, v_token_stride;
  int64_t batch, heads, head_dim, cache_capacity;
  int32_t dtype;
  int32_t reserved;
} graft_kv_append_args;
GRAFT_API int graft_kv_append(graft_context*, const graft_kv_append_args*);

/* One query a sequence against the cache: out_b = softmax(scale q_b K_b^T) V_b over the
 * min(lengths[b] + extra, cache_capacity) cached keys; extra = 1 counts the token just appended, so
 * that the same lengths array serves both calls. Length 0 gives output 0. */
typedef struct graft_attention_decode_args {
  int64_t struct_size;
  const void* q;       /* [B, H, D] by stride                                                 */
  const void* k_cache; /* [B, H, cache_capacity, D] packed                                       */
  const void* v_cache; /* [B, H, cache_capacity, D] packed                                       */
  void* out;           /* [B, H, D] by stride                                                 */
  const int32_t* lengths; /* [batch]                                                          */
  void* workspace;
  int64_t workspace_bytes;
  int64_t q_token_stride, out_token_stride;
  int64_t batch, heads, head_dim, cache_capacity;
  float scale;
  int32_t extra;
  int32_t dtype;
  int32_t reserved;
} graft_attention_decode_args;
GRAFT_API int graft_attention_decode_workspace(graft_context*, const graft_attention_decode_args*,
                                               int64_t* bytes);
GRAFT_API int graft_attention_decode(graft_context*, const graft_attention_decode_args*);

/* ---------------------------------------------------------------- embedding ------------------ *
 * out[t] = token_table[ids[t]] + position_table[positions[t]] + type_table[types[t]]
 * position and type are optional (NULL table). An id outside its table: GRAFT_INVALID_SHAPE on the
 * CPU; on other backends the caller has checked.
 */
typedef struct graft_embedding_args {
  int64_t struct_size;
  const int32_t* ids;         /* [T] in [0, token_rows)                                       */
  const int32_t* positions;   /* [T] in [0, position_rows), or NULL                           */
  const int32_t* types;       /* [T] in [0, type_rows), or NULL                               */
  const void* token_table;    /* [token_rows, C]                                              */
  const void* position_table; /* [position_rows, C] or NULL                                   */
  const void* type_table;     /* [type_rows, C] or NULL                                       */
  void* out;                  /* [T, C]                                                       */
  int64_t tokens, channels, token_rows, position_rows, type_rows;
  int32_t dtype;
  int32_t reserved;
} graft_embedding_args;
GRAFT_API int graft_embedding_forward(graft_context*, const graft_embedding_args*);

/* dtable[ids[t]] += dout[t], in the order of t, for one table; call it once a table.
 * order is the stable permutation that sorts rows by id. */
typedef struct graft_embedding_backward_args {
  int64_t struct_size;
  const int32_t* ids;   /* [T]                                                                */
  const int32_t* order; /* [T]                                                                */
  const void* dout;     /* [T, C]                                                             */
  float* dtable;        /* [rows, C], accumulated                                             */
  int64_t tokens, channels, rows;
  int32_t dtype; /* of dout                                                                   */
  int32_t reserved;
} graft_embedding_backward_args;
GRAFT_API int graft_embedding_backward(graft_context*, const graft_embedding_backward_args*);

/* ---------------------------------------------------------------- residual + dropout + norm -- *
 * s = residual + dropout(x);  out = dropout_out(gamma * (s - mean) * rstd + beta)
 * (LayerNorm, Ba et al. 2016, arXiv:1607.06450, over the last axis; variance biased.)
 * Pre-LN (GPT-2): sum is the residual stream, out feeds the next sublayer. Post-LN (BERT): out is the
 * next residual. residual NULL: s = dropout(x). The statistics are of s as stored in dtype.
 */
typedef struct graft_add_norm_args {
  int64_t struct_size;
  const void* x;        /* [R, C] the sublayer's output                                       */
  const void* residual; /* [R, C] or NULL                                                     */
  void* sum;            /* [R, C]: s, kept for the backward pass; may alias residual or x;
                           NULL if residual is NULL and dropout is 0 (s is x)                 */
  void* out;            /* [R, C]                                                             */
  const void* gamma;    /* [C]                                                                */
  const void* beta;     /* [C]                                                                */
  float* mean;          /* [R]                                                                */
  float* rstd;          /* [R]                                                                */
  int64_t rows, channels;
  float eps;
  int32_t dropout;     /* k of k/256 on x                                                     */
  int32_t out_dropout; /* k of k/256 on out                                                   */
  uint32_t op_id;      /* of dropout                                                          */
  uint32_t out_op_id;  /* of out_dropout                                                      */
  int32_t dtype;
} graft_add_norm_args;
GRAFT_API int graft_add_norm_forward(graft_context*, const graft_add_norm_args*);

/* ds = dsum + LayerNorm'(dropout_out'(dout));  dresidual = ds;  dx = dropout'(ds);
 * dgamma, dbeta, dbias += column sums (dbias: of dx, the gradient of a bias added to x). */
typedef struct graft_add_norm_backward_args {
  int64_t struct_size;
  const void* dout;  /* [R, C]                                                                */
  const void* dsum;  /* [R, C] gradient that reaches s by another way, or NULL                */
  const void* sum;   /* [R, C]: s of the forward pass                                         */
  const void* gamma; /* [C]                                                                   */
  const float* mean; /* [R]                                                                   */
  const float* rstd; /* [R]                                                                   */
  void* dresidual;   /* [R, C] or NULL; may alias dsum or dout                                */
  void* dx;          /* [R, C] or NULL; may alias dout; with dropout 0 usually NULL: it
                        would equal dresidual                                                 */
  float* dgamma;     /* [C], accumulated, or NULL                                             */
  float* dbeta;      /* [C], accumulated, or NULL                                             */
  float* dbias;      /* [C], accumulated, or NULL                                             */
  void* workspace;
  int64_t workspace_bytes;
  int64_t rows, channels;
  int32_t dropout, out_dropout;
  uint32_t op_id, out_op_id;
  int32_t dtype;
  int32_t reserved;
} graft_add_norm_backward_args;
GRAFT_API int graft_add_norm_backward_workspace(graft_context*,
                                                const graft_add_norm_backward_args*,
                                                int64_t* bytes);
GRAFT_API int graft_add_norm_backward(graft_context*, const graft_add_norm_backward_args*);

/* ---------------------------------------------------------------- bias + activation ---------- *
 * y = act(x + bias), GELU of Hendrycks & Gimpel (arXiv:1606.08415): tanh form
 * 0.5 u (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3))), erf form 0.5 u (1 + erf(u / sqrt 2)), or tanh(u).
 */
typedef enum graft_activation {
  GRAFT_GELU_TANH = 0,
  GRAFT_GELU_ERF = 1,
  GRAFT_TANH = 2,
  GRAFT_RELU = 3
} graft_activation;
typedef struct graft_activation_args {
  int64_t struct_size;
  const void* x;    /* [R, C] before the bias                                                 */
  const void* bias; /* [C] or NULL                                                            */
  void* y;          /* forward out: [R, C]; may alias x                                       */
  const void* dy;   /* backward in: [R, C]                                                    */
  void* dx;         /* backward out: [R, C]; may alias dy                                     */
  float* dbias;     /* backward: [C], accumulated column sums of dx, or NULL                  */
  void* workspace;  /* backward with dbias                                                    */
  int64_t workspace_bytes;
  int64_t rows, channels;
  int32_t activation; /* graft_activation                                                     */
  int32_t dtype;
} graft_activation_args;
GRAFT_API int graft_activation_workspace(graft_context*, const graft_activation_args*,
                                         int64_t* bytes);
GRAFT_API int graft_activation_forward(graft_context*, const graft_activation_args*);
/* Reads x and bias (not y). */
GRAFT_API int graft_activation_backward(graft_context*, const graft_activation_args*);

/* ---------------------------------------------------------------- classifier ----------------- *
 * For each row with targets[r] != ignore_index, with class weights w (all 1 without), smoothing e
 * (Szegedy et al., arXiv:1512.00567, section 7) and lse = ln sum_v exp(x_v):
 *   loss = (1 - e) w_target (lse - x_target) + e / V sum_v w_v (lse - x_v)
 *   dlogits_v = loss_scale[slot] * dloss / dx_v               in place of the logits; without both:
 *               loss_scale[slot] * (softmax(x)_v - [v == target])
 * Rows ignored get dlogits 0. Columns V .. row stride are outside the softmax and get dlogits 0.
 * The step state's loss_sum[slot], loss_weight[slot] (by w_target) and loss_count[slot] grow: the
 * weighted mean is loss_sum / loss_weight. One read and one write of a row; smoothing reads once more.
 * A target outside (of this and the next losses): GRAFT_INVALID_SHAPE on the CPU; on others, which
 * cannot look at it without waiting, NaN for its row or segment.
 */
typedef struct graft_classifier_args {
  int64_t struct_size;
  void* logits;           /* [R, V] by stride, overwritten with dlogits unless forward_only   */
  const int32_t* targets; /* [R] in [0, V) or ignore_index                                    */
  const float* weights;   /* [V] finite, >= 0; or NULL                                        */
  float* losses;          /* [R] loss of each row (0 where ignored), or NULL                  */
  void* workspace;
  int64_t workspace_bytes;
  int64_t rows, vocabulary, row_stride;
  int32_t ignore_index;   /* usually -100                                                     */
  int32_t slot;           /* 0 .. GRAFT_LOSS_SLOTS - 1                                        */
  int32_t forward_only;   /* 1: logits are left as they are                                   */
  int32_t dtype;
  float label_smoothing;  /* e in [0, 1]                                                      */
  int32_t reserved;
} graft_classifier_args;
GRAFT_API int graft_classifier_workspace(graft_context*, const graft_classifier_args*,
                                         int64_t* bytes);
GRAFT_API int graft_classifier(graft_context*, const graft_classifier_args*);

/* ---------------------------------------------------------------- segment classifier --------- *
 * Softmax cross-entropy over the rows of each segment: which row is it? (The token an answer begins
 * with; the choice that is right.) Segment s owns the logits x_r = logits[r * stride] of the rows
 * r in [cu_segments[s], cu_segments[s+1]). With targets[s] != ignore_index, counted from the
 * segment's first row:
 *   loss = ln sum_r exp(x_r) - x_target;  dlogits_r = loss_scale[slot] * (softmax(x)_r - [r == target])
 * in place. Rows of ignored segments and rows of no segment get dlogits 0; an empty segment must be
 * ignored. loss_sum, loss_weight and loss_count of the slot grow.
 */
typedef struct graft_segment_classifier_args {
  int64_t struct_size;
  void* logits;               /* [R] by stride, overwritten with dlogits unless forward_only  */
  const int32_t* cu_segments; /* [segments + 1], not falling, in [0, R]                       */
  const int32_t* targets;     /* [segments] in [0, length of the segment) or ignore_index     */
  float* losses;              /* [segments] (0 where ignored), or NULL                        */
  void* workspace;
  int64_t workspace_bytes;
  int64_t rows, segments;
  int64_t stride;             /* between rows; other columns are not touched                  */
  int32_t ignore_index;
  int32_t slot;
  int32_t forward_only;
  int32_t dtype;
} graft_segment_classifier_args;
GRAFT_API int graft_segment_classifier_workspace(graft_context*,
                                                 const graft_segment_classifier_args*,
                                                 int64_t* bytes);
GRAFT_API int graft_segment_classifier(graft_context*, const graft_segment_classifier_args*);

/* ---------------------------------------------------------------- binary cross-entropy ------- *
 * Many labels a row, each a yes or no of its own. For each element with y = target != ignore_value,
 * positive weight p (1 without), s = 1 / (1 + exp(-x)):
 *   loss = -(p y ln s + (1 - y) ln(1 - s));  dlogit = loss_scale[slot] * ((1 - y) s - p y (1 - s))
 * in place. Elements ignored get dlogit 0, as do columns K .. row stride. loss_sum grows, and
 * loss_weight and loss_count by the number of elements counted.
 */
typedef struct graft_binary_cross_entropy_args {
  int64_t struct_size;
  void* logits;                 /* [R, K] by stride, overwritten with dlogits unless forward_only */
  const float* targets;         /* [R, K] in [0, 1] or ignore_value                           */
  const float* positive_weight; /* [K] finite, >= 0; or NULL                                  */
  float* losses;                /* [R] sum over the row's elements, or NULL                   */
  void* workspace;
  int64_t workspace_bytes;
  int64_t rows, columns, row_stride;
  float ignore_value;           /* usually -100                                               */
  int32_t slot;
  int32_t forward_only;
  int32_t dtype;
} graft_binary_cross_entropy_args;
GRAFT_API int graft_binary_cross_entropy_workspace(graft_context*,
                                                   const graft_binary_cross_entropy_args*,
                                                   int64_t* bytes);
GRAFT_API int graft_binary_cross_entropy(graft_context*, const graft_binary_cross_entropy_args*);

/* ---------------------------------------------------------------- mean squared error --------- *
 * For each element with y = target != ignore_value:
 *   loss = (x - y)^2;  dprediction = loss_scale[slot] * 2 (x - y)          in place
 * Elements ignored get 0, as do columns K .. row stride. loss_sum grows, and loss_weight and
 * loss_count by the number of elements counted.
 */
typedef struct graft_mean_squared_error_args {
  int64_t struct_size;
  void* predictions;    /* [R, K] by stride, overwritten with their gradient unless forward_only */
  const float* targets; /* [R, K] finite or ignore_value                                      */
  float* losses;        /* [R] sum over the row's elements, or NULL                           */
  void* workspace;
  int64_t workspace_bytes;
  int64_t rows, columns, row_stride;
  float ignore_value;
  int32_t slot;
  int32_t forward_only;
  int32_t dtype;
} graft_mean_squared_error_args;
GRAFT_API int graft_mean_squared_error_workspace(graft_context*,
                                                 const graft_mean_squared_error_args*,
                                                 int64_t* bytes);
GRAFT_API int graft_mean_squared_error(graft_context*, const graft_mean_squared_error_args*);

/* ---------------------------------------------------------------- optimizer ------------------ *
 * Multi-tensor AdamW (Loshchilov & Hutter, arXiv:1711.05101, algorithm 2) over a parameter set, one
 * launch for all tensors:
 *   t += 1;  g = clip_coefficient * grad
 *   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   w -= lr lr_scale (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w)
 * in float32 on the master weights; weight16, if given, gets the result rounded to bfloat16.
 *
 * Compact forms, for 12 bytes a parameter instead of 18:
 * - m16 and v16 instead of m and v. They are rounded up or down at random, up with the probability of
 *   the part that is cut off, so that v, whose steps are below the precision of bfloat16, grows as it
 *   should on average. Element e of parameter k (its place in the set) draws word e%4 at (e/4 low,
 *   e/4 high, k, 0) under the stream key of (seed, t, op_id 2^32 - 1): the low half for m, the high
 *   half for v; a half is added to the bits below bfloat16's. AdamW's step is by the moments before
 *   they are rounded, LAMB's by the rounded ones, for it reads them again.
 * - remainder instead of weight, beside m16, v16 and weight16. The master's bits are
 *   (weight16 << 16) + the remainder as a signed number: exact. weight16 is the master rounded to
 *   nearest, ties up in magnitude: (bits + 2^15) >> 16.
 */
typedef struct graft_parameter {
  float* grad;    /* [count]                                                                  */
  float* weight;  /* [count] float32 weights (the master copy); NULL with remainder           */
  void* weight16; /* [count] bfloat16 copy, or NULL                                           */
  float* m;       /* [count] first moment; NULL with m16                                      */
  float* v;       /* [count] second moment; NULL with v16                                     */
  int64_t count;
  float weight_decay; /* decoupled, >= 0                                                      */
  float lr_scale;     /* factor of the step state's lr, >= 0; 0 freezes the parameter         */
  void* m16;           /* [count] bfloat16 first moment, or NULL                              */
  void* v16;           /* [count] bfloat16 second moment, or NULL                             */
  uint16_t* remainder; /* [count] the master's low half, or NULL                              */
} graft_parameter;
typedef struct graft_parameter_set graft_parameter_set;
/* Copies the list; the arrays stay the caller's. */
GRAFT_API int graft_parameter_set_create(graft_context*, const graft_parameter* parameters,
                                         int64_t count, graft_parameter_set** set);
GRAFT_API int graft_parameter_set_destroy(graft_context*, graft_parameter_set* set);

/* step state: grad_norm = sqrt(sum g^2) over the set (frozen parameters excepted), clip_coefficient
 * = min(1, max_norm / grad_norm) (max_norm <= 0: 1), skip = not finite. Accumulated in double. */
typedef struct graft_grad_norm_args {
  int64_t struct_size;
  graft_parameter_set* parameters;
  float max_norm;
  int32_t reserved;
} graft_grad_norm_args;
GRAFT_API int graft_grad_norm(graft_context*, const graft_grad_norm_args*);

/* Applies the step unless the step state says skip. Reads lr, clip_coefficient and skip. */
typedef struct graft_adamw_args {
  int64_t struct_size;
  graft_parameter_set* parameters;
  float beta1, beta2; /* in [0, 1)                                                            */
  float eps;          /* > 0                                                                  */
  int32_t zero_grad;  /* 1: grads are set to 0 in the same pass, whether skipped or not       */
} graft_adamw_args;
GRAFT_API int graft_adamw(graft_context*, const graft_adamw_args*);

/* LAMB (You et al., arXiv:1904.00962, algorithm 2) over a parameter set: Adam's direction, as long as
 * the parameter's own weights, for large batches.
 *   t += 1;  g = clip_coefficient * grad
 *   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w
 *   trust = |w| / |r| (2-norms over the parameter, accumulated in double); 1 where a norm is 0, and
 *           for parameters without weight decay (biases and norms in the published recipe)
 *   w -= lr lr_scale trust r
 * Otherwise as AdamW: reads lr, clip_coefficient and skip, counts t, writes weight16. */
typedef struct graft_lamb_args {
  int64_t struct_size;
  graft_parameter_set* parameters;
  float beta1, beta2; /* in [0, 1)                                                            */
  float eps;          /* > 0                                                                  */
  int32_t zero_grad;  /* 1: grads are set to 0 in the same pass, whether skipped or not       */
} graft_lamb_args;
GRAFT_API int graft_lamb(graft_context*, const graft_lamb_args*);

/* ---------------------------------------------------------------- sampling ------------------- *
 * next[b] drawn from softmax(logits_b / temperature) after, in this order: repetition penalty
 * (Keskar et al., arXiv:1909.05858: x > 0 ? x / penalty : x * penalty for every token in the
 * history), temperature, top-k, top-p (Holtzman et al., arXiv:1904.09751: the smallest set of most
 * probable tokens whose mass reaches top_p). temperature 0: the arg max (lowest id of a tie).
 * The uniform of row b is u = (word 0 >> 8) 2^-24 at counter (b, 0, 0, 0) under the stream key of
 * (seed, step, op_id); tokens are taken in falling order of probability (ties: rising id).
 * A row with a NaN or +inf, or of -inf only: GRAFT_INVALID_SHAPE on the CPU; next = -1 on others.
 */
typedef struct graft_sample_args {
  int64_t struct_size;
  const void* logits;            /* [B, V] by stride, not changed                             */
  const int32_t* history;        /* [B, history_stride] tokens, or NULL                       */
  const int32_t* history_counts; /* [B] tokens of history in use, or NULL                     */
  int32_t* next;                 /* [B]                                                       */
  void* workspace;
  int64_t workspace_bytes;
  int64_t batch, vocabulary, row_stride, history_stride;
  int64_t top_k;     /* 0: all                                                                */
  float temperature; /* >= 0                                                                  */
  float top_p;       /* in (0, 1]                                                             */
  float repetition_penalty; /* > 0; 1: none                                                   */
  uint32_t op_id;
  int32_t dtype;
  int32_t reserved;
} graft_sample_args;
GRAFT_API int graft_sample_workspace(graft_context*, const graft_sample_args*, int64_t* bytes);
GRAFT_API int graft_sample(graft_context*, const graft_sample_args*);

/* ---------------------------------------------------------------- plain ops ------------------ */

/* to[i] = (to_dtype) from[i], round to nearest even. float32 <-> bfloat16, or a copy. */
typedef struct graft_cast_args {
  int64_t struct_size;
  const void* from;
  void* to;
  int64_t count;
  int32_t from_dtype, to_dtype;
} graft_cast_args;
GRAFT_API int graft_cast(graft_context*, const graft_cast_args*);

/* out = a + b, elementwise; out may alias a or b. */
typedef struct graft_add_args {
  int64_t struct_size;
  const void* a;
  const void* b;
  void* out;
  int64_t count;
  int32_t dtype;
  int32_t reserved;
} graft_add_args;
GRAFT_API int graft_add(graft_context*, const graft_add_args*);

/* y[r, c] = keep(r, c) ? x[r, c] * 256 / (256 - k) : 0. Its own backward. y may alias x. */
typedef struct graft_dropout_args {
  int64_t struct_size;
  const void* x; /* [R, C]                                                                    */
  void* y;       /* [R, C]                                                                    */
  int64_t rows, channels;
  int32_t dropout; /* k of k/256                                                              */
  uint32_t op_id;
  int32_t dtype;
  int32_t reserved;
} graft_dropout_args;
GRAFT_API int graft_dropout(graft_context*, const graft_dropout_args*);

/* Row copies by index. Gather: out[n] = in[index[n]], or 0 where index[n] is -1.
 * Scatter: out is set to 0 unless accumulate, then out[index[n]] += in[n], where index[n] != -1;
 * indices other than -1 must differ from one another. */
typedef struct graft_rows_args {
  int64_t struct_size;
  const void* in;       /* gather: [source_rows, C]; scatter: [count, C]                      */
  void* out;            /* gather: [count, C]; scatter: [source_rows, C]                      */
  const int32_t* index; /* [count] in [-1, source_rows)                                       */
  int64_t count, source_rows, channels;
  int32_t accumulate;   /* scatter                                                            */
  int32_t dtype;
} graft_rows_args;
GRAFT_API int graft_gather_rows(graft_context*, const graft_rows_args*);
GRAFT_API int graft_scatter_rows(graft_context*, const graft_rows_args*);

/* Eight-bit floats under one scale a tensor (Micikevicius et al. 2022, arXiv:2209.05433), operands of
 * matrix products, which want both layouts:
 *   scale = the least power of two, at least 2^-126, with max |x| <= scale * largest; 1 if x is 0
 *   y[r, c] = transposed[c, r] = x[r, c] / scale, rounded to nearest even
 * Nothing saturates, and the division is exact. A NaN or infinity anywhere in x makes scale and all of
 * y NaN, so that a step that must be skipped is. */
typedef struct graft_quantize_args {
  int64_t struct_size;
  const void* x;    /* [R, C]                                                                 */
  void* y;          /* [R, C] bytes, or NULL                                                  */
  void* transposed; /* [C, R] bytes, or NULL                                                  */
  float* scale;     /* [1] out                                                                */
  void* workspace;
  int64_t workspace_bytes;
  int64_t rows, channels;
  int32_t dtype;    /* of x                                                                   */
  int32_t to_dtype; /* GRAFT_FLOAT8_E4M3 or GRAFT_FLOAT8_E5M2                                 */
} graft_quantize_args;
GRAFT_API int graft_quantize_workspace(graft_context*, const graft_quantize_args*, int64_t* bytes);
GRAFT_API int graft_quantize(graft_context*, const graft_quantize_args*);

/* out[c] += sum over rows of x[r, c] (bias gradients). */
typedef struct graft_column_sum_args {
  int64_t struct_size;
  const void* x; /* [R, C]                                                                    */
  float* out;    /* [C], accumulated                                                          */
  void* workspace;
  int64_t workspace_bytes;
  int64_t rows, channels;
  int32_t dtype;
  int32_t reserved;
} graft_column_sum_args;
GRAFT_API int graft_column_sum_workspace(graft_context*, const graft_column_sum_args*,
                                         int64_t* bytes);
GRAFT_API int graft_column_sum(graft_context*, const graft_column_sum_args*);

#ifdef __cplusplus
}
#endif

#endif /* GRAFT_GRAFT_H */
