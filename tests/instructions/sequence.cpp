#include "tests/instructions/sequence.h"

#include <algorithm>
#include <cstring>

namespace ring3 {

Program Sequence::Assembled() const {
  std::vector<uint32_t> offsets;
  uint32_t offset = program.offset;
  for (const SequenceItem& item : items) {
    offsets.push_back(offset);
    offset += static_cast<uint32_t>(item.bytes.size());
  }
  offsets.push_back(offset);
  Program out = program;
  for (size_t i = 0; i < items.size(); ++i) {
    Bytes bytes = items[i].bytes;
    for (const SequenceItem::Reference& r : items[i].references) {
      uint32_t value = offsets[r.target] + r.addend;
      switch (r.kind) {
        case SequenceItem::Reference::Kind::kRelative:
          value -= offsets[i] + r.at + r.bytes;
          break;
        case SequenceItem::Reference::Kind::kOffset:
          value += guest::kCode - program.CodeBase();
          break;
        case SequenceItem::Reference::Kind::kLinear:
          value += guest::kCode;
          break;
      }
      std::memcpy(&bytes[r.at], &value, r.bytes);
    }
    out.code.insert(out.code.end(), bytes.begin(), bytes.end());
  }
  return out;
}

Sequence Sequence::Without(size_t first, size_t count) const {
  Sequence out{.program = program, .items = items};
  out.items.erase(out.items.begin() + static_cast<ptrdiff_t>(first),
                  out.items.begin() + static_cast<ptrdiff_t>(first + count));
  for (SequenceItem& item : out.items) {
    for (SequenceItem::Reference& r : item.references) {
      if (r.target >= first + count) {
        r.target -= count;
      } else if (r.target >= first) {
        r.target = first;
        r.addend = 0;
      }
    }
  }
  return out;
}

Sequence Shrink(Sequence sequence, const std::function<bool(const Program&)>& fails) {
  for (size_t chunk = std::max<size_t>(sequence.items.size() / 2, 1);; chunk = std::max<size_t>(chunk / 2, 1)) {
    bool removed = false;
    for (size_t first = 0; first + chunk <= sequence.items.size();) {
      Sequence smaller = sequence.Without(first, chunk);
      if (fails(smaller.Assembled())) {
        sequence = std::move(smaller);
        removed = true;
      } else {
        first += chunk;
      }
    }
    if (chunk == 1 && !removed) return sequence;
  }
}

}  // namespace ring3
