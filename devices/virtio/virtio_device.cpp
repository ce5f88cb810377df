#include "devices/virtio/virtio_device.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint16_t kVendor = 0x1AF4;

// Device status.
constexpr uint8_t kDriverOk = 0x04, kFeaturesOk = 0x08, kNeedsReset = 0x40;
// Interrupt status.
constexpr uint8_t kQueueInterrupt = 0x01, kConfigInterrupt = 0x02;

// Legacy registers (4.1.4.8).
enum LegacyRegister : uint32_t {
  kLegacyDeviceFeatures = 0x00,
  kLegacyDriverFeatures = 0x04,
  kLegacyQueuePage = 0x08,
  kLegacyQueueSize = 0x0C,
  kLegacyQueueSelect = 0x0E,
  kLegacyNotify = 0x10,
  kLegacyStatus = 0x12,
  kLegacyInterrupt = 0x13,
  kLegacyConfig = 0x14,
};
constexpr unsigned kLegacyPageShift = 12;
constexpr uint64_t kLegacyAlignment = 4096;

// Parts of the modern BAR.
constexpr uint32_t kCommonOffset = 0x0000, kInterruptOffset = 0x1000, kConfigOffset = 0x2000, kNotifyOffset = 0x3000;
constexpr uint32_t kPartBytes = 0x1000, kModernBytes = 0x4000, kNotifyStride = 4;
// The common configuration (4.1.4.3).
enum CommonRegister : uint32_t {
  kDeviceFeatureSelect = 0x00,
  kDeviceFeature = 0x04,
  kDriverFeatureSelect = 0x08,
  kDriverFeature = 0x0C,
  kMsixConfig = 0x10,
  kQueueCount = 0x12,
  kStatus = 0x14,
  kGeneration = 0x15,
  kQueueSelect = 0x16,
  kQueueSize = 0x18,
  kQueueMsix = 0x1A,
  kQueueEnable = 0x1C,
  kQueueNotifyOffset = 0x1E,
  kQueueDescriptors = 0x20,
  kQueueAvailable = 0x28,
  kQueueUsed = 0x30,
  kCommonBytes = 0x38,
};
constexpr uint16_t kNoVector = 0xFFFF;

// PCI capabilities (4.1.4).
constexpr uint8_t kCapabilitiesPointer = 0x34, kVendorSpecific = 0x09;
constexpr uint16_t kStatusCapabilities = 0x0010;
constexpr uint8_t kCommonType = 1, kNotifyType = 2, kInterruptType = 3, kConfigType = 4, kWindowType = 5;
constexpr uint8_t kCapabilityBytes = 16, kNotifyCapabilityBytes = 20;
constexpr uint8_t kFirstCapability = 0x40;
// The window through configuration space (4.1.4.9), at the end of the list.
constexpr uint8_t kWindow = kFirstCapability + 3 * kCapabilityBytes + kNotifyCapabilityBytes;
constexpr uint8_t kWindowBar = kWindow + 4, kWindowOffset = kWindow + 8, kWindowLength = kWindow + 12,
                  kWindowData = kWindow + 16, kWindowCapabilityBytes = 20;

uint32_t LegacyBarBytes(unsigned config_bytes) {
  uint32_t bytes = 0x20;
  while (bytes < kLegacyConfig + config_bytes) bytes *= 2;
  return bytes;
}

void SetHalf(uint64_t& target, bool high, uint32_t value) {
  const unsigned shift = high ? 32 : 0;
  target = (target & ~(uint64_t{0xFFFFFFFF} << shift)) | uint64_t{value} << shift;
}

}  // namespace

VirtioDevice::VirtioDevice(PhysicalMemory& memory, const Kind& kind)
    : PciDevice({.vendor = kVendor,
                 .device = kind.transitional_id,
                 .class_code = kind.class_code,
                 .subsystem_vendor = kVendor,
                 .subsystem = kind.type}),
      memory_(memory),
      offered_(kind.features | virtio::kAnyLayout | virtio::kIndirectDescriptors | virtio::kEventIndex |
               virtio::kVersion1),
      queue_size_(kind.queue_size),
      queues_(kind.queues, QueueState(memory)),
      config_(kind.config_bytes) {
  AddBar(kLegacyBar, BarKind::kIo, LegacyBarBytes(kind.config_bytes));
  AddBar(kModernBar, BarKind::kMemory, kModernBytes);
  SetRegister(pci::kInterruptPin, 1, 1);
  AddCapabilities();
  for (QueueState& queue : queues_) queue.size = queue_size_;
}

void VirtioDevice::AddCapabilities() {
  SetRegister(kCapabilitiesPointer, 1, kFirstCapability);
  SetRegister(pci::kStatus, 2, ReadConfig(pci::kStatus, 2) | kStatusCapabilities);
  constexpr uint8_t kSecond = kFirstCapability + kCapabilityBytes, kThird = kSecond + kCapabilityBytes,
                    kFourth = kThird + kCapabilityBytes;
  AddCapability(kFirstCapability, kSecond, kCapabilityBytes, kCommonType, kCommonOffset, kPartBytes);
  AddCapability(kSecond, kThird, kCapabilityBytes, kInterruptType, kInterruptOffset, kPartBytes);
  AddCapability(kThird, kFourth, kCapabilityBytes, kConfigType, kConfigOffset, kPartBytes);
  AddCapability(kFourth, kWindow, kNotifyCapabilityBytes, kNotifyType, kNotifyOffset, kPartBytes);
  SetRegister(kFourth + kCapabilityBytes, 4, kNotifyStride);
  AddCapability(kWindow, 0, kWindowCapabilityBytes, kWindowType, 0, 0);
  AllowWrites(kWindowBar, 1, 0xFF);
  for (const uint8_t field : {kWindowOffset, kWindowLength, kWindowData}) AllowWrites(field, 4, ~0u);
}

/// What the guest has chosen there; false where that is no access.
bool VirtioDevice::ConfigWindow(uint32_t& offset, unsigned& size) const {
  offset = ReadConfig(kWindowOffset, 4);
  size = ReadConfig(kWindowLength, 4);
  const bool access = size == 1 || size == 2 || size == 4;
  return access && ReadConfig(kWindowBar, 1) == kModernBar && offset < kModernBytes && offset % size == 0;
}

void VirtioDevice::ConfigReadNext(uint8_t offset, unsigned size) {
  uint32_t at;
  unsigned length;
  if (offset + size <= kWindowData || offset >= kWindowData + 4 || !ConfigWindow(at, length)) return;
  ForceRegister(kWindowData, 4, modern_.ReadCut(at, length));
}

void VirtioDevice::ConfigWritten(uint8_t offset, unsigned size) {
  uint32_t at;
  unsigned length;
  if (offset + size <= kWindowData || offset >= kWindowData + 4 || !ConfigWindow(at, length)) return;
  WriteModern(at, length, static_cast<uint32_t>(ReadConfig(kWindowData, 4) & ((uint64_t{1} << 8 * length) - 1)));
}

void VirtioDevice::AddCapability(uint8_t at, uint8_t next, uint8_t length, uint8_t type, uint32_t offset,
                                 uint32_t bytes) {
  SetRegister(at, 4, uint32_t{kVendorSpecific} | uint32_t{next} << 8 | uint32_t{length} << 16 | uint32_t{type} << 24);
  SetRegister(static_cast<uint8_t>(at + 4), 4, kModernBar);
  SetRegister(static_cast<uint8_t>(at + 8), 4, offset);
  SetRegister(static_cast<uint8_t>(at + 12), 4, bytes);
}

void VirtioDevice::Reset() {
  PciDevice::Reset();
  ResetDevice();
}

void VirtioDevice::ResetDevice() {
  for (QueueState& queue : queues_) {
    queue = QueueState(memory_);
    queue.size = queue_size_;
  }
  driver_features_ = 0;
  device_feature_select_ = driver_feature_select_ = 0;
  queue_select_ = 0;
  status_ = interrupt_status_ = 0;
  SetInterrupt(false);
  DeviceReset();
}

bool VirtioDevice::Running() const { return (status_ & (kDriverOk | kNeedsReset)) == kDriverOk && IsMaster(); }

void VirtioDevice::Fail() {
  if (status_ & kNeedsReset) return;
  status_ |= kNeedsReset;
  if (status_ & kDriverOk) Interrupt(kConfigInterrupt);
}

void VirtioDevice::Finish(unsigned index) {
  Virtqueue& queue = queues_[index].queue;
  if (queue.Publish()) Interrupt(kQueueInterrupt);
  if (queue.Broken()) Fail();
}

void VirtioDevice::Interrupt(uint8_t reason) {
  interrupt_status_ |= reason;
  SetInterrupt(true);
}

uint8_t VirtioDevice::ReadInterruptStatus() {
  const uint8_t status = interrupt_status_;
  interrupt_status_ = 0;
  SetInterrupt(false);
  return status;
}

void VirtioDevice::Notify(unsigned index) {
  if (index < queues_.size() && Running() && queues_[index].queue.Enabled()) QueueNotified(index);
}

void VirtioDevice::WriteStatus(uint8_t value, bool legacy) {
  if (value == 0) return ResetDevice();
  const uint8_t before = status_;
  value |= status_ & kNeedsReset;
  // The modern interface is for drivers that know version 1; what was not offered cannot be had.
  const bool agreed = legacy || ((driver_features_ & ~offered_) == 0 && HasFeature(virtio::kVersion1));
  if (!agreed) value &= static_cast<uint8_t>(~kFeaturesOk);
  status_ = value;
  if (!(before & kDriverOk) && (status_ & kDriverOk)) {
    for (unsigned i = 0; i < queues_.size(); ++i) Notify(i);
  }
}

// --- the device's configuration ---

uint32_t VirtioDevice::ReadConfigBytes(uint32_t offset, unsigned size) const {
  uint32_t value = 0;
  for (unsigned i = 0; i < size && offset + i < config_.size(); ++i) value |= uint32_t{config_[offset + i]} << (8 * i);
  return value;
}

void VirtioDevice::WriteConfigBytes(uint32_t offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size && offset + i < config_.size(); ++i) {
    ConfigWritten8(offset + i, static_cast<uint8_t>(value >> (8 * i)));
  }
}

// --- the legacy interface ---

uint32_t VirtioDevice::ReadLegacy(uint32_t offset, unsigned size) {
  const QueueState* queue = Selected();
  switch (offset) {
    case kLegacyDeviceFeatures:
      return static_cast<uint32_t>(offered_);
    case kLegacyDriverFeatures:
      return static_cast<uint32_t>(driver_features_);
    case kLegacyQueuePage:
      return queue ? queue->legacy_page : 0;
    case kLegacyQueueSize:
      return queue ? queue_size_ : 0;
    case kLegacyQueueSelect:
      return queue_select_;
    case kLegacyStatus:
      return status_;
    case kLegacyInterrupt:
      return ReadInterruptStatus();
    default:
      return offset >= kLegacyConfig ? ReadConfigBytes(offset - kLegacyConfig, size) : 0;
  }
}

void VirtioDevice::WriteLegacy(uint32_t offset, unsigned size, uint32_t value) {
  switch (offset) {
    case kLegacyDriverFeatures:
      driver_features_ = value & offered_;
      return;
    case kLegacyQueuePage:
      if (QueueState* queue = Selected()) EnableLegacy(*queue, value);
      return;
    case kLegacyQueueSelect:
      queue_select_ = static_cast<uint16_t>(value);
      return;
    case kLegacyNotify:
      return Notify(value & 0xFFFF);
    case kLegacyStatus:
      return WriteStatus(static_cast<uint8_t>(value), true);
    default:
      if (offset >= kLegacyConfig) WriteConfigBytes(offset - kLegacyConfig, size, value);
      return;
  }
}

/// Rings lie one after the other from a page on, the used ring on a page's start (2.6.2).
void VirtioDevice::EnableLegacy(QueueState& queue, uint32_t page) {
  queue.legacy_page = page;
  if (page == 0) return queue.queue.Disable();
  const GuestPhysical base(uint64_t{page} << kLegacyPageShift);
  const GuestPhysical available = base + uint64_t{queue_size_} * 16;
  const uint64_t end = available.value + 6 + uint64_t{queue_size_} * 2;
  const GuestPhysical used((end + kLegacyAlignment - 1) & ~(kLegacyAlignment - 1));
  if (!queue.queue.Enable({queue_size_, base, available, used}, HasFeature(virtio::kEventIndex))) Fail();
}

// --- the modern interface ---

uint32_t VirtioDevice::ReadModern(uint32_t offset, unsigned size) {
  if (offset < kCommonOffset + kPartBytes) {
    // Narrower reads take a part of the register.
    const uint32_t register_offset = offset >= kQueueDescriptors || offset < kMsixConfig ? offset & ~3u : offset;
    const uint32_t value = ReadCommon(register_offset) >> (8 * (offset - register_offset));
    return size == 4 ? value : value & ((1u << (8 * size)) - 1);
  }
  if (offset < kInterruptOffset + kPartBytes) return offset == kInterruptOffset ? ReadInterruptStatus() : 0;
  if (offset < kConfigOffset + kPartBytes) return ReadConfigBytes(offset - kConfigOffset, size);
  return 0;
}

void VirtioDevice::WriteModern(uint32_t offset, unsigned size, uint32_t value) {
  if (offset < kCommonOffset + kPartBytes) return WriteCommon(offset, size, value);
  if (offset < kConfigOffset) return;
  if (offset < kConfigOffset + kPartBytes) return WriteConfigBytes(offset - kConfigOffset, size, value);
  Notify((offset - kNotifyOffset) / kNotifyStride);
}

uint32_t VirtioDevice::ReadCommon(uint32_t offset) {
  const QueueState* queue = Selected();
  const auto half = [offset](uint64_t value) { return static_cast<uint32_t>(offset & 4 ? value >> 32 : value); };
  switch (offset) {
    case kDeviceFeatureSelect:
      return device_feature_select_;
    case kDeviceFeature:
      return device_feature_select_ < 2 ? static_cast<uint32_t>(offered_ >> (32 * device_feature_select_)) : 0;
    case kDriverFeatureSelect:
      return driver_feature_select_;
    case kDriverFeature:
      return driver_feature_select_ < 2 ? static_cast<uint32_t>(driver_features_ >> (32 * driver_feature_select_)) : 0;
    case kMsixConfig:
    case kQueueMsix:
      return kNoVector;
    case kQueueCount:
      return static_cast<uint32_t>(queues_.size());
    case kStatus:
      return status_;
    case kQueueSelect:
      return queue_select_;
    case kQueueSize:
      return queue ? queue->size : 0;
    case kQueueEnable:
      return queue && queue->queue.Enabled();
    case kQueueNotifyOffset:
      return queue_select_;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      return queue ? half(queue->descriptors) : 0;
    case kQueueAvailable:
    case kQueueAvailable + 4:
      return queue ? half(queue->available) : 0;
    case kQueueUsed:
    case kQueueUsed + 4:
      return queue ? half(queue->used) : 0;
    default:
      return 0;
  }
}

void VirtioDevice::WriteCommon(uint32_t offset, unsigned size, uint32_t value) {
  QueueState* queue = Selected();
  const bool high = offset & 4;
  switch (offset) {
    case kDeviceFeatureSelect:
      device_feature_select_ = value;
      return;
    case kDriverFeatureSelect:
      driver_feature_select_ = value;
      return;
    case kDriverFeature:
      if (driver_feature_select_ < 2 && !(status_ & kFeaturesOk)) {
        SetHalf(driver_features_, driver_feature_select_ == 1, value);
      }
      return;
    case kStatus:
      return WriteStatus(static_cast<uint8_t>(value), false);
    case kQueueSelect:
      queue_select_ = static_cast<uint16_t>(value);
      if (size == 4 && Selected()) Selected()->size = static_cast<uint16_t>(value >> 16);
      return;
  }
  if (!queue || queue->queue.Enabled()) return;  // a queue in use cannot be moved
  switch (offset) {
    case kQueueSize:
      queue->size = static_cast<uint16_t>(value);
      return;
    case kQueueEnable:
      if ((value & 0xFFFF) == 1) EnableModern(*queue);
      return;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      return SetHalf(queue->descriptors, high, value);
    case kQueueAvailable:
    case kQueueAvailable + 4:
      return SetHalf(queue->available, high, value);
    case kQueueUsed:
    case kQueueUsed + 4:
      return SetHalf(queue->used, high, value);
    default:
      return;
  }
}

void VirtioDevice::EnableModern(QueueState& queue) {
  const Virtqueue::Place place{queue.size, GuestPhysical(queue.descriptors), GuestPhysical(queue.available),
                               GuestPhysical(queue.used)};
  if (queue.size > queue_size_ || !queue.queue.Enable(place, HasFeature(virtio::kEventIndex))) Fail();
}

}  // namespace ring3
