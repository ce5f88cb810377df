// VMware's backdoor port, of which we have the version and the absolute pointer (open-vm-tools, backdoor_def.h; the
// vmmouse driver of X.Org, vmmouse_defs.h).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "devices/port_bus.h"
#include "devices/ps2_mouse.h"

namespace ring3 {

/// The guest reads four bytes from the port with a magic number in EAX, a command in CX and an argument in EBX; answers
/// are in EAX to EDX. What the pointer does waits in a queue of words, and an empty packet of the PS/2 mouse tells of
/// it.
class VmPort final : public PortDevice {
 public:
  static constexpr uint32_t kMagic = 0x564D5868;
  static constexpr uint32_t kVersion = 6;
  // Commands.
  static constexpr uint16_t kGetVersion = 10, kPointerData = 39, kPointerStatus = 40, kPointerCommand = 41;
  // Arguments of the last one.
  static constexpr uint32_t kEnable = 0x45414552, kDisable = 0xF5, kRelative = 0x4C455252, kAbsolute = 0x53424152;
  static constexpr uint32_t kPointerVersion = 0x3442554A;  // the first word after kEnable
  static constexpr uint32_t kPointerError = 0xFFFF0000;    // status
  // Buttons in the first word of a packet.
  static constexpr uint32_t kLeft = 0x20, kRight = 0x10, kMiddle = 0x08;

  /// The eight general registers in the order of their encoding, to be read and changed during an access; nullptr where
  /// they cannot be reached. Then nothing is at the port.
  using Registers = std::function<uint32_t*()>;

  explicit VmPort(Ps2Mouse& mouse) : mouse_(mouse) {}
  void SetRegisters(Registers registers) { registers_ = std::move(registers); }

  uint32_t ReadPort(uint16_t port, unsigned size) override;
  void WritePort(uint16_t, unsigned, uint32_t) override {}
  void Reset();

  /// The guest wants absolute positions.
  bool Absolute() const { return absolute_; }
  /// (0, 0) is the upper left corner, (FFFFh, FFFFh) the lower right one; wheel and buttons as in Ps2Mouse::Move. Returns
  /// false and does nothing for a guest that does not want to know where.
  bool Point(uint16_t x, uint16_t y, int wheel, uint8_t buttons);
  /// Moves the position, in pixels of a screen 1024 wide, or else the PS/2 mouse. Right and up are positive.
  void Move(int dx, int dy, int wheel, uint8_t buttons);

 private:
  void Command(uint32_t argument);
  void GiveWords(uint32_t* registers);
  void Queue();

  Ps2Mouse& mouse_;
  Registers registers_;
  std::deque<uint32_t> words_;
  bool enabled_ = false, absolute_ = false, failed_ = false;
  bool late_ = false;  // the queue was full when the pointer changed
  uint16_t x_ = 0x8000, y_ = 0x8000;
  int wheel_ = 0;
  uint8_t buttons_ = 0;
};

}  // namespace ring3
