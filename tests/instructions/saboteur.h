// Breaks translations on purpose, to see whether the tests notice: it changes host code or a block's records right
// after the translator made them, which it learns from the translator's dump.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "tests/translator/test_machine.h"

namespace ring3 {

/// A block that was just translated, and where it may be spoilt.
struct FreshBlock {
  TestMachine& machine;
  Block& block;
  std::span<uint8_t> code;
  uint8_t* earlier;  // an earlier translation of the same code, or nullptr
};

/// Returns whether it changed something.
using Mutation = std::function<bool(const FreshBlock&)>;

struct NamedMutation {
  const char* name;
  Mutation apply;
};

const std::vector<NamedMutation>& AllMutations();

class Saboteur {
 public:
  explicit Saboteur(Mutation mutation);
  ~Saboteur();
  Saboteur(const Saboteur&) = delete;

  /// For TranslatorOptions.
  FILE* Dump() const { return dump_; }
  /// Mutations begin.
  void Attach(TestMachine& machine) { machine_ = &machine; }
  uint64_t Applied() const { return applied_; }

 private:
  static ssize_t OnDump(void* self, const char* text, size_t bytes);
  void Spoil(uint64_t host_address);

  Mutation mutation_;
  FILE* dump_;
  TestMachine* machine_ = nullptr;
  std::vector<std::pair<BlockKey, uint8_t*>> made_;
  uint64_t applied_ = 0;
};

}  // namespace ring3
