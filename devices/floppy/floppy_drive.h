// A diskette drive: where its head is, what lies in it.
#pragma once

#include <cstdint>
#include <memory>

#include "devices/block/medium_slot.h"
#include "devices/floppy/floppy_format.h"

namespace ring3 {

class FloppyDrive {
 public:
  /// `type` is what the drive is sold as; diskettes of all formats can be read in all drives.
  explicit FloppyDrive(FloppyDriveType type) : type_(type) {}

  FloppyDriveType Type() const { return type_; }
  bool Present() const { return type_ != FloppyDriveType::kNone; }
  MediumSlot& Slot() { return slot_; }
  const MediumSlot& Slot() const { return slot_; }

  /// A diskette that is there goes.
  void Insert(std::unique_ptr<Disk> diskette) {
    format_ = &FormatOfFloppy(diskette->SizeBytes());
    slot_.Insert(std::move(diskette));
    changed_ = true;
  }
  void Eject() {
    slot_.Remove();
    changed_ = true;
  }
  /// The format of the diskette that is there, or was last.
  const FloppyFormat& Format() const { return *format_; }

  uint8_t Cylinder() const { return cylinder_; }
  /// Steps to a cylinder, as far as the rails go. A step with a diskette in the drive takes the change line back.
  void Seek(unsigned cylinder) {
    constexpr unsigned kLastCylinder = 84;
    cylinder_ = static_cast<uint8_t>(cylinder < kLastCylinder ? cylinder : kLastCylinder);
    if (slot_.Present()) changed_ = false;
  }
  bool DiskChange() const { return changed_; }

 private:
  FloppyDriveType type_;
  MediumSlot slot_;
  const FloppyFormat* format_ = &FormatOfFloppy(0);
  uint8_t cylinder_ = 0;
  bool changed_ = true;
};

}  // namespace ring3
