# The model file: what policyc knows of a model, on disk. This file is its specification.
#
# A model file is two Cap'n Proto messages in the standard stream framing, one after the other, and nothing else:
#
#     offset  size     content
#     0       8        framing of the first message: uint32 0 (one segment), uint32 its size in words of 8 bytes
#     8       8 * n    its only segment, whose root is a Model:
#                        8     pointer to the root, which follows it at once, so that the file's bytes 16..23 are
#                              `modelMagic`
#                        16    the graph, spaces, states and origin: everything but the weights
#                        b     the blob, b being a multiple of 64; it ends where the segment ends
#     end-56  56       the second message, whose root is a Seal
#
# All numbers are little-endian. Far pointers, packing and compression are not used.
#
# One model has one encoding: a writer sets the fields in the order of compiler/modelfile/write.py, leaves no
# holes, sorts attributes by name and shares nothing. A reader may rely on it: policyc refuses a file of its own schema
# version whose bytes are not the ones that it would write for the same model. That excludes unknown fields, bytes that
# no field covers, and objects that two pointers share.
#
# Bounds, beyond which a file is refused:
#
#     everything before the blob          16 MiB
#     elements of all lists together      131072
#     the blob                            512 MiB - 64 bytes (a Data cannot be longer)
#     dimensions of a tensor or a space   8
#     Dict in Dict                        16 levels
#
# Changes: a field is never removed, retyped or reused. Whatever an older policyc must not overlook (a field, an
# enumerant, an alternative of a union) raises `schemaVersion`; an older policyc then refuses the file with the text
# in `needs`. The fields `magic`, `schemaVersion`, `blob` and `needs`, and the whole of Seal, keep their places for ever.

@0xc6ee2bd0d8f5a3b7;

const modelMagic :UInt64 = 0x00637963696c6f70;
# The bytes "policyc" and NUL.

const sealMagic :UInt64 = 0x006c616573636c70;
# The bytes "plcseal" and NUL.

const schemaVersion :UInt32 = 2;
# The newest version that this file describes. A writer writes the oldest that says all of the model:
#
#     1   everything but
#     2   sizes that follow a length (`Dimension.length`, `Attribute.length`, `Attribute.sizes`)

struct Model {
  magic @0 :UInt64;
  # `modelMagic`.

  schemaVersion @1 :UInt32;
  # The version of this schema that is needed to understand the file.

  blob @2 :Data;
  # All arrays: first the constants in the order of `tensors`, then the bounds of Box spaces (low, high) in the order
  # in which they are met, observation space first. Each array is in C order, little-endian, and starts at a multiple
  # of 64 bytes from the blob's start; the bytes between two arrays and after the last, up to a multiple of 64, are 0.
  # A bool takes one byte, 0 or 1. No two arrays overlap. The blob itself starts at a multiple of 64 bytes from the
  # start of the file, so that a file that is mapped has every array on a cache line.

  needs @3 :Text;
  # The first release of policyc that reads this schema version: "0.1.0".

  name @4 :Text;
  # The model's name. Like all names here, free text from a checkpoint: any Unicode scalar values, NUL included,
  # empty allowed. Never an identifier, a path or code.

  origin @5 :Origin;

  tensors @6 :List(Tensor);
  # Every tensor of the graph: inputs, constants, results. Names differ. Elsewhere a tensor is given by its index in
  # this list.

  inputs @7 :List(UInt32);
  # The tensors that the caller gives, in the order of arguments. Of a policy: "observation" or, for each part of a dict
  # space, "observation.KEY"; then "action_masks" if it takes masks; then "episode_starts" if it has states.

  nodes @8 :List(Node);
  # The operations, in an order in which they can be computed.

  outputs @9 :List(Output);

  states @10 :List(State);

  policy @11 :Policy;
  # Null if the model is not a policy.

  padding @12 :Data;
  # Zeros before the blob, less than 64 bytes, that bring it to its alignment; null if none are needed.

  unbatched @13 :Bool;
  # Whether callers give one observation, in exactly the shapes of the inputs without "batch", and never several at once.
}

enum DType {
  # Element types, named as NumPy names them.
  bool @0;
  int8 @1;
  int16 @2;
  int32 @3;
  int64 @4;
  uint8 @5;
  uint16 @6;
  uint32 @7;
  uint64 @8;
  float16 @9;
  float32 @10;
  float64 @11;
}

struct Dimension {
  union {
    size @0 :UInt64;
    # A number of elements, at least 1.

    symbol @1 :Text;
    # A size that is known at run time: "batch", the number of observations.

    length @2 :Length;
    # A size that follows the length of sequences, which is known at run time. All of a model follow one length.
  }
}

struct Length {
  # The length of a sequence, or that and a fixed number more or less.

  name @0 :Text;
  # What callers call the length.

  least @1 :UInt64;
  most @2 :UInt64;
  # The smallest and the largest length; the smallest is at least 1 and less than the largest.

  shift @3 :Int64;
  # How much larger this size is than the length. A dimension is at least 1 for the smallest length.
}

struct Tensor {
  name @0 :Text;
  dtype @1 :DType;
  shape @2 :List(Dimension);

  union {
    computed @3 :Void;
    # By a node, or given by the caller.

    constant :group {
      # Known at build time: a weight. Every dimension is a size or a length: of a length, the array has the elements
      # for the largest, and those for a shorter one are at the beginning of each dimension.

      offset @4 :UInt64;
      # First byte, from the start of the blob; a multiple of 64.

      size @5 :UInt64;
      # Bytes: the product of the dimensions (of lengths, the largest) times the size of the dtype.
    }
  }
}

struct Node {
  op @0 :Text;
  # A row of the op table (compiler/ops).

  name @1 :Text;
  # Where the node comes from, in the words of the source: "mlp_extractor.policy_net.0".

  inputs @2 :List(UInt32);
  outputs @3 :List(UInt32);
  # Indices of tensors.

  attributes @4 :List(Attribute);
  # Sorted by name (code point by code point); names differ. All attributes that the op has, defaults included.
}

struct Attribute {
  name @0 :Text;

  union {
    bool @1 :Bool;
    int @2 :Int64;
    float @3 :Float64;
    text @4 :Text;
    ints @5 :List(Int64);
    # Also stands for every empty list.
    floats @6 :List(Float64);
    texts @7 :List(Text);
    length @8 :Length;
    # An integer that follows a length.
    sizes @9 :List(Dimension);
    # Integers of which some follow a length: `ints` where none does.
  }
}

struct Space {
  # A space of gymnasium, between which a policy's `predict` works.

  union {
    box :group {
      # Real vectors, matrices, images.
      dtype @0 :DType;
      shape @1 :List(UInt64);
      # Each at least 1.
      low @2 :UInt64;
      high @3 :UInt64;
      # First bytes of the two bounds, from the start of the blob: arrays of this dtype and shape.
    }

    discrete :group {
      # The integers from `start` to `start + n - 1`.
      n @4 :Int64;
      start @5 :Int64;
    }

    multiDiscrete :group {
      # Several independent choices: choice i has `nvec[i]` values, from `start[i]` or, if `start` is empty, from 0.
      nvec @6 :List(Int64);
      start @7 :List(Int64);
    }

    multiBinary :group {
      # Bits in an array of this shape.
      shape @8 :List(UInt64);
    }

    dict @9 :List(Part);
    # Named parts in the order in which the source saved them; keys differ.
  }

  struct Part {
    key @0 :Text;
    space @1 :Space;
  }
}

enum Role {
  # What a predictor makes of an output.
  action @0;
  # What `predict` returns.
  scores @1;
  # What the action is chosen from.
  value @2;
  # A critic's estimate.
  output @3;
  # Anything else.
  distribution @4;
  # What drawing an action needs besides the scores: "std", "latent", "noise_std".
}

struct Output {
  name @0 :Text;
  # In the field's terms: "action", "logits", "q_values", "mean_actions", "value". Names of outputs differ.
  tensor @1 :UInt32;
  role @2 :Role;
}

struct State {
  # A recurrent state: the model reads `input` and leaves the next step's value in `output`.
  name @0 :Text;
  input @1 :UInt32;
  output @2 :UInt32;
  initial @3 :UInt32;
  # What `input` is at the start of an episode.
}

struct Policy {
  kind @0 :Text;
  # The policy class of the source, for humans: "ActorCriticPolicy".
  observationSpace @1 :Space;
  actionSpace @2 :Space;

  sampling @3 :Sampling;
  # Null if the policy never draws its action.

  struct Sampling {
    kind @0 :Kind;
    squash @1 :Bool;
    # Whether what is drawn goes through tanh and is rescaled to the action space; otherwise it is clipped to it.
    epsilon @2 :Float64;
    # The probability of a random action, for epsilonGreedy.

    enum Kind {
      categorical @0;
      # From the softmax of the logits, choice by choice.
      bernoulli @1;
      # From the sigmoid of the logits.
      gaussian @2;
      # The scores plus the output "std", (actions,) or (batch, actions), times noise.
      stateDependent @3;
      # The scores plus the output "latent" (batch, n) times noise whose deviations are "noise_std" (n, actions).
      epsilonGreedy @4;
      # Now and then any action of the space, else the best.
    }
  }
}

struct Origin {
  # Where the model comes from.

  file @0 :Text;
  # The source file's own name, without its folder.

  sha256 @1 :Text;
  # Of the whole source file, hexadecimal.

  format @2 :Text;
  # "sb3-zip", "sb3-policy", "torch-state-dict", ...

  versions @3 :List(Version);
  # What wrote the source, where it says so.

  assumptions @4 :List(Text);
  # What the source does not say and was filled in by Stable-Baselines3's default, one sentence each.

  vecnormalize @5 :Text;
  # SHA-256 of the file of observation statistics that is compiled in, hexadecimal; empty if there is none.

  struct Version {
    name @0 :Text;
    # "stable_baselines3"
    version @1 :Text;
    # "2.9.2"
  }
}

struct Seal {
  # The last 56 bytes of the file: 8 of framing, 8 of root pointer, and this. A truncated file has none; a changed byte
  # does not fit it. It protects against accidents, not against forgery: whoever changes a file can seal it again.

  magic @0 :UInt64;
  # `sealMagic`.

  digest0 @1 :UInt64;
  digest1 @2 :UInt64;
  digest2 @3 :UInt64;
  digest3 @4 :UInt64;
  # SHA-256 of all bytes before this message; digest0 holds its first eight bytes, the first of them lowest.
}
