#include "monitor/boot/aml.h"

#include <cassert>
#include <string>

namespace ring3::aml {
namespace {

// Opcodes, ACPI specification 20.3.
constexpr uint8_t kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08, kByteConst = 0x0A, kWordConst = 0x0B,
                  kDwordConst = 0x0C, kScopeOp = 0x10, kBufferOp = 0x11, kPackageOp = 0x12, kExtOp = 0x5B,
                  kDeviceOp = 0x82;
constexpr size_t kSegmentLength = 4;

// Resource descriptor tags with their lengths, 6.4.2 and 6.4.3.
constexpr uint8_t kSmallIrq = 0x22, kSmallIo = 0x47, kSmallEnd = 0x79, kLargeDword = 0x87, kLargeWord = 0x88;
constexpr uint8_t kDecode16 = 1;
enum AddressSpace : uint8_t { kMemorySpace, kPortSpace, kBusSpace };
constexpr uint8_t kMinFixed = 1u << 2, kMaxFixed = 1u << 3;   // general flags; bit 0 clear: a producer
constexpr uint8_t kReadWrite = 1u << 0, kEntireRange = 0x03;  // memory and port flags

// A package length counts its own bytes: 6 bits in one byte, or 4 bits and one to three more bytes (20.2.4).
Bytes WithLength(const Bytes& content) {
  for (unsigned extra = 0; extra <= 3; ++extra) {
    const size_t total = content.size() + 1 + extra;
    const size_t limit = extra == 0 ? 1u << 6 : size_t{1} << (4 + 8 * extra);
    if (total >= limit) continue;
    Bytes out;
    if (extra == 0) {
      out.push_back(static_cast<uint8_t>(total));
    } else {
      out.push_back(static_cast<uint8_t>((extra << 6) | (total & 0xF)));
      for (unsigned i = 0; i < extra; ++i) out.push_back(static_cast<uint8_t>(total >> (4 + 8 * i)));
    }
    AppendBytes(out, content);
    return out;
  }
  assert(false && "AML term too large");
  return {};
}

Bytes Join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const Bytes& part : parts) AppendBytes(out, part);
  return out;
}

Bytes Named(std::initializer_list<uint8_t> opcode, std::string_view name, std::initializer_list<Bytes> terms) {
  Bytes out(opcode);
  AppendBytes(out, WithLength(Join({NamePath(name), Join(terms)})));
  return out;
}

template <class T>
Bytes AddressWindow(uint8_t tag, AddressSpace space, uint8_t flags, T first, T last) {
  Bytes out = {tag};
  AppendField<uint16_t>(out, 3 + 5 * sizeof(T));
  out.insert(out.end(), {space, kMinFixed | kMaxFixed, flags});
  for (const uint64_t field : {uint64_t{0} /* granularity */, uint64_t{first}, uint64_t{last},
                               uint64_t{0} /* translation */, uint64_t{last} - first + 1}) {
    AppendField<T>(out, static_cast<T>(field));
  }
  return out;
}

}  // namespace

Bytes NamePath(std::string_view name) {
  const size_t root = name.starts_with('\\') ? 1 : 0;
  assert(name.size() > root && name.size() - root <= kSegmentLength);
  std::string padded(name);
  padded.resize(root + kSegmentLength, '_');
  return Bytes(padded.begin(), padded.end());
}

Bytes Integer(uint32_t value) {
  if (value == 0) return {kZeroOp};
  if (value == 1) return {kOneOp};
  Bytes out;
  if (value <= UINT8_MAX) {
    out = {kByteConst, static_cast<uint8_t>(value)};
  } else if (value <= UINT16_MAX) {
    out = {kWordConst};
    AppendField<uint16_t>(out, static_cast<uint16_t>(value));
  } else {
    out = {kDwordConst};
    AppendField<uint32_t>(out, value);
  }
  return out;
}

Bytes EisaId(std::string_view id) {
  assert(id.size() == 7);
  const auto letter = [&](size_t i) { return static_cast<uint32_t>(id[i] - '@') & 0x1F; };
  const auto digit = [&](size_t i) { return static_cast<uint32_t>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10); };
  const uint32_t maker = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const uint32_t product = (digit(3) << 12) | (digit(4) << 8) | (digit(5) << 4) | digit(6);
  // Stored big-endian inside a dword constant.
  Bytes out = {kDwordConst};
  AppendField<uint32_t>(out, __builtin_bswap32((maker << 16) | product));
  return out;
}

Bytes Name(std::string_view name, const Bytes& value) { return Join({{kNameOp}, NamePath(name), value}); }

Bytes Package(std::span<const Bytes> elements) {
  Bytes content = {static_cast<uint8_t>(elements.size())};
  for (const Bytes& element : elements) AppendBytes(content, element);
  return Join({{kPackageOp}, WithLength(content)});
}

Bytes Package(std::initializer_list<Bytes> elements) {
  return Package(std::span<const Bytes>(elements.begin(), elements.size()));
}

Bytes Scope(std::string_view name, std::initializer_list<Bytes> terms) { return Named({kScopeOp}, name, terms); }

Bytes Device(std::string_view name, std::initializer_list<Bytes> terms) {
  return Named({kExtOp, kDeviceOp}, name, terms);
}

Bytes ResourceTemplate(std::initializer_list<Bytes> descriptors) {
  const Bytes end = {kSmallEnd, 0};  // a zero checksum means that there is none to check
  const Bytes content = Join({Join(descriptors), end});
  return Join({{kBufferOp}, WithLength(Join({Integer(static_cast<uint32_t>(content.size())), content}))});
}

Bytes IoPorts(uint16_t first, uint8_t count) {
  Bytes out = {kSmallIo, kDecode16};
  AppendField<uint16_t>(out, first);
  AppendField<uint16_t>(out, first);
  out.insert(out.end(), {1 /* alignment */, count});
  return out;
}

Bytes IsaInterrupt(unsigned line) {
  Bytes out = {kSmallIrq};
  AppendField<uint16_t>(out, static_cast<uint16_t>(1u << line));
  return out;
}

Bytes BusNumbers(uint16_t first, uint16_t last) {
  return AddressWindow<uint16_t>(kLargeWord, kBusSpace, 0, first, last);
}

Bytes PortWindow(uint16_t first, uint16_t last) {
  return AddressWindow<uint16_t>(kLargeWord, kPortSpace, kEntireRange, first, last);
}

Bytes MemoryWindow(uint32_t first, uint32_t last) {
  return AddressWindow<uint32_t>(kLargeDword, kMemorySpace, kReadWrite, first, last);
}

}  // namespace ring3::aml
