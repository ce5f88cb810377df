#include "devices/fw_cfg.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

namespace ring3 {
namespace {

constexpr uint16_t kSignature = 0x00;
constexpr uint16_t kFeatures = 0x01;
constexpr uint16_t kDirectory = 0x19;
constexpr uint16_t kFirstFile = 0x20;
constexpr uint32_t kHasRegisters = 1, kHasDma = 2;
constexpr uint64_t kDmaSignature = 0x51454D5520434647;  // "QEMU CFG"
constexpr size_t kNameBytes = 56;

// A DMA command: control, length (4 bytes each), address (8 bytes), all big-endian.
constexpr unsigned kCommandBytes = 16;
constexpr uint32_t kError = 0x01, kRead = 0x02, kSkip = 0x04, kSelect = 0x08, kWrite = 0x10;
constexpr unsigned kKeyShift = 16;
// No item is nearly as long; a longer transfer would only keep the machine busy.
constexpr uint32_t kLongestTransfer = 16u << 20;

/// The DMA ports begin at a multiple of 8 plus 4.
constexpr unsigned RegisterOf(uint16_t port) { return (port - 4u) & 7; }

template <class T>
T FromBig(const uint8_t* bytes) {
  T value = 0;
  for (unsigned i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | bytes[i]);
  return value;
}

template <class T>
void AppendBig(FwCfg::Content& content, T value) {
  for (unsigned i = sizeof(T); i-- > 0;) content.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

}  // namespace

FwCfg::FwCfg(PhysicalMemory& memory) : memory_(memory) {
  SetItem(kSignature, {'Q', 'E', 'M', 'U'});
  SetNumber(kFeatures, kHasRegisters | kHasDma, 4);
  UpdateDirectory();
}

void FwCfg::Reset() {
  dma_address_high_ = 0;
  Select(0);
}

void FwCfg::SetItem(uint16_t key, Content content) { items_[key] = {std::move(content), nullptr}; }

void FwCfg::SetNumber(uint16_t key, uint64_t value, unsigned bytes) {
  Content content(bytes);
  for (unsigned i = 0; i < bytes; ++i) content[i] = static_cast<uint8_t>(value >> (8 * i));
  SetItem(key, std::move(content));
}

FwCfg::Item& FwCfg::AddFile(const std::string& name) {
  if (name.empty() || name.size() >= kNameBytes) throw std::invalid_argument("fw_cfg: bad file name " + name);
  const auto next = static_cast<uint16_t>(kFirstFile + files_.size());
  return items_[files_.try_emplace(name, next).first->second];
}

void FwCfg::SetFile(const std::string& name, Content content) {
  AddFile(name) = {std::move(content), nullptr};
  UpdateDirectory();
}

void FwCfg::SetFile(const std::string& name, std::function<Content()> refresh) {
  Content content = refresh();
  AddFile(name) = {std::move(content), std::move(refresh)};
  UpdateDirectory();
}

void FwCfg::UpdateDirectory() {
  Content directory;
  AppendBig(directory, static_cast<uint32_t>(files_.size()));
  for (const auto& [name, key] : files_) {
    AppendBig(directory, static_cast<uint32_t>(items_[key].content.size()));
    AppendBig(directory, key);
    AppendBig(directory, uint16_t{0});
    directory.insert(directory.end(), name.begin(), name.end());
    directory.resize(directory.size() + kNameBytes - name.size());
  }
  SetItem(kDirectory, std::move(directory));
}

void FwCfg::Select(uint16_t key) {
  selected_ = key;
  offset_ = 0;
  const auto found = items_.find(key);
  if (found == items_.end() || !found->second.refresh) return;
  const size_t promised = found->second.content.size();
  found->second.content = found->second.refresh();
  found->second.content.resize(promised);
}

uint8_t FwCfg::ReadByte() {
  const auto found = items_.find(selected_);
  if (found == items_.end() || offset_ >= found->second.content.size()) return 0;
  return found->second.content[offset_++];
}

uint32_t FwCfg::ReadRegister(uint16_t, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint32_t{ReadByte()} << (8 * i);
  return value;
}

void FwCfg::WriteRegister(uint16_t port, unsigned size, uint32_t value) {
  if ((port & 1) == 0 && size == 2) Select(static_cast<uint16_t>(value));
}

uint32_t FwCfg::ReadDma(uint16_t port, unsigned size) {
  const unsigned first = RegisterOf(port);
  uint32_t value = 0;
  for (unsigned i = 0; i < size && first + i < 8; ++i) {
    value |= static_cast<uint32_t>(kDmaSignature >> (8 * (7 - first - i)) & 0xFF) << (8 * i);
  }
  return value;
}

void FwCfg::WriteDma(uint16_t port, unsigned size, uint32_t value) {
  if (size != 4) return;
  const uint32_t half = __builtin_bswap32(value);  // other registers than these two do not exist
  if (RegisterOf(port) == 0) {
    dma_address_high_ = half;
    return;
  }
  const uint64_t address = uint64_t{dma_address_high_} << 32 | half;
  dma_address_high_ = 0;
  RunCommand(GuestPhysical(address));
}

void FwCfg::RunCommand(GuestPhysical address) {
  if (address.value > PhysicalMemory::kRomEnd - kCommandBytes) return;
  std::array<uint8_t, kCommandBytes> command;
  memory_.Read(address, command);
  const bool done = Execute(FromBig<uint32_t>(command.data()), FromBig<uint32_t>(command.data() + 4),
                            FromBig<uint64_t>(command.data() + 8));
  Content result;
  AppendBig(result, done ? 0 : kError);
  memory_.Write(address, result);
}

bool FwCfg::Execute(uint32_t control, uint32_t length, uint64_t address) {
  if ((control & kSelect) != 0) Select(static_cast<uint16_t>(control >> kKeyShift));
  if ((control & kRead) != 0) {
    if (length > kLongestTransfer || address > PhysicalMemory::kRomEnd - length) return false;
    Transfer(length, address);
    return true;
  }
  if ((control & kWrite) != 0) return false;  // no item can be written
  if ((control & kSkip) != 0) offset_ += length;
  return true;
}

/// Beyond the item's end are zeros.
void FwCfg::Transfer(uint32_t length, uint64_t address) {
  static const Content kNothing;
  const auto found = items_.find(selected_);
  const Content& content = found == items_.end() ? kNothing : found->second.content;
  const uint64_t from = std::min<uint64_t>(offset_, content.size());
  const uint64_t there = std::min<uint64_t>(length, content.size() - from);
  memory_.Write(GuestPhysical(address), std::span(content).subspan(from, there));
  const std::array<uint8_t, kPageSize> zeros{};
  for (uint64_t done = there; done < length;) {
    const uint64_t bytes = std::min<uint64_t>(zeros.size(), length - done);
    memory_.Write(GuestPhysical(address + done), std::span(zeros).first(bytes));
    done += bytes;
  }
  offset_ += length;
}

}  // namespace ring3
