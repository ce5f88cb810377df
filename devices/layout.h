// Where everything of the PC sits: port addresses and interrupt lines, named once.
#pragma once

#include <cstdint>

namespace ring3::layout {

// Interrupt controllers and their edge/level registers.
inline constexpr uint16_t kMasterPicPort = 0x20;
inline constexpr uint16_t kSlavePicPort = 0xA0;
inline constexpr unsigned kPicPortCount = 2;
inline constexpr uint16_t kElcrPort = 0x4D0;
inline constexpr unsigned kElcrPortCount = 2;

inline constexpr uint16_t kDmaPort = 0x00;
inline constexpr unsigned kDmaPortCount = 16;
inline constexpr uint16_t kSecondDmaPort = 0xC0;
inline constexpr unsigned kSecondDmaPortCount = 32;
inline constexpr uint16_t kDmaPagePort = 0x81;  // 80h takes POST codes
inline constexpr unsigned kDmaPagePortCount = 15;

inline constexpr uint16_t kPitPort = 0x40;
inline constexpr unsigned kPitPortCount = 4;

inline constexpr uint16_t kKeyboardDataPort = 0x60;
inline constexpr uint16_t kSystemControlBPort = 0x61;
inline constexpr uint16_t kKeyboardCommandPort = 0x64;

inline constexpr uint16_t kRtcPort = 0x70;
inline constexpr unsigned kRtcPortCount = 2;

inline constexpr uint16_t kPostPort = 0x80;
inline constexpr uint16_t kSystemControlAPort = 0x92;
inline constexpr uint16_t kDebugConsolePort = 0xE9;

inline constexpr uint16_t kFpuErrorPort = 0xF0;
inline constexpr unsigned kFpuErrorPortCount = 2;

inline constexpr uint16_t kSerial1Port = 0x3F8;
inline constexpr uint16_t kSerialPortAt[] = {kSerial1Port, 0x2F8, 0x3E8, 0x2E8};  // COM1 to COM4
inline constexpr unsigned kSerialPortCount = 8;

inline constexpr uint16_t kPciAddressPort = 0xCF8;
inline constexpr unsigned kPciAddressPortCount = 4;
inline constexpr uint16_t kResetControlPort = 0xCF9;  // byte accesses inside the PCI address register
inline constexpr uint16_t kPciDataPort = 0xCFC;
inline constexpr unsigned kPciDataPortCount = 4;

// Disks.
inline constexpr uint16_t kPrimaryIdePort = 0x1F0;
inline constexpr uint16_t kPrimaryIdeControlPort = 0x3F6;
inline constexpr uint16_t kSecondaryIdePort = 0x170;
inline constexpr uint16_t kSecondaryIdeControlPort = 0x376;
inline constexpr unsigned kIdePortCount = 8;
inline constexpr uint16_t kIdeBusMasterPort = 0xC000;  // unless firmware chooses another
inline constexpr uint16_t kFloppyPort = 0x3F0;
inline constexpr unsigned kFloppyPortCount = 6;
inline constexpr uint16_t kFloppyInputPort = 0x3F7;

// ACPI fixed hardware (the addresses that the FADT names).
inline constexpr uint16_t kSmiCommandPort = 0xB2;
inline constexpr unsigned kSmiCommandPortCount = 2;
inline constexpr uint16_t kPmBasePort = 0x600;          // unless firmware chooses another
inline constexpr uint16_t kPm1EventPort = kPmBasePort;  // PM1_STS, PM1_EN: 2 bytes each
inline constexpr unsigned kPm1EventLength = 4;
inline constexpr uint16_t kPm1ControlPort = kPmBasePort + 4;
inline constexpr unsigned kPm1ControlLength = 2;
inline constexpr uint16_t kPmTimerPort = kPmBasePort + 8;
inline constexpr unsigned kPmTimerLength = 4;
inline constexpr unsigned kPmPortCount = 12;

// What firmware looks for.
inline constexpr uint16_t kFirmwareLogPort = 0x402;
inline constexpr uint16_t kFwCfgPort = 0x510;  // selector, data
inline constexpr unsigned kFwCfgPortCount = 2;
inline constexpr uint16_t kFwCfgDmaPort = 0x514;
inline constexpr unsigned kFwCfgDmaPortCount = 8;

inline constexpr uint16_t kVmPort = 0x5658;
inline constexpr unsigned kVmPortCount = 4;

// Where the debug-exit device sits unless told otherwise.
inline constexpr uint16_t kDebugExitPort = 0x501;
inline constexpr unsigned kDebugExitPortCount = 2;

// Places on PCI bus 0.
inline constexpr unsigned kHostBridgeSlot = 0;
inline constexpr unsigned kSouthBridgeSlot = 1;
inline constexpr unsigned kVgaSlot = 2;
inline constexpr unsigned kIsaBridgeFunction = 0;
inline constexpr unsigned kIdeFunction = 1;
inline constexpr unsigned kPowerManagementFunction = 3;

// Interrupt lines.
inline constexpr unsigned kPitIrq = 0;
inline constexpr unsigned kKeyboardIrq = 1;
inline constexpr unsigned kCascadeIrq = 2;
inline constexpr unsigned kSecondSerialIrq = 3;  // COM2, COM4
inline constexpr unsigned kFirstSerialIrq = 4;   // COM1, COM3
inline constexpr unsigned kFloppyIrq = 6;
inline constexpr unsigned kRtcIrq = 8;
inline constexpr unsigned kSciIrq = 9;
inline constexpr unsigned kFirstPciIrq = 10;   // PIRQA#, PIRQB#
inline constexpr unsigned kSecondPciIrq = 11;  // PIRQC#, PIRQD#
inline constexpr unsigned kMouseIrq = 12;
inline constexpr unsigned kFpuIrq = 13;
inline constexpr unsigned kPrimaryIdeIrq = 14;
inline constexpr unsigned kSecondaryIdeIrq = 15;

}  // namespace ring3::layout
