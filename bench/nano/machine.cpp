#include "machine.h"

#include "console.h"
#include "power.h"
#include "tables.h"

extern "C" const uint8_t HandleUserDone[], HandleSystemCall[], HandleSysenter[], HandleYield[], OtherTask[];
extern "C" const uint8_t kernel_start[], user_text_start[], user_text_end[], user_data_start[], user_data_end[];
extern "C" uint32_t current_space, other_space;

namespace nano {

using demo::AddressOf, demo::Descriptor, demo::Segment, demo::TaskState;
using demo::kFlat, demo::kKernelCode, demo::kKernelData, demo::kTssAvailable, demo::kUserCode, demo::kUserData;
using demo::kWholeSpace;

AddressSpace spaces[2];

namespace {

constexpr uint32_t kInterruptGate = 0x8E00, kUserGate = 0xEE00, kVectors = 256;
constexpr uint32_t kIdentityTables = 8;  // 32 MiB
constexpr uint32_t kMmioPhysical = 0xF0000000;
constexpr uint32_t kStackBytes = 4096;

Descriptor gdt[7], idt[kVectors];
TaskState main_task, other_task;
alignas(16) uint8_t trap_stack[kStackBytes], other_stack[kStackBytes];
alignas(kPageBytes) uint32_t identity_tables[kIdentityTables][kTableEntries];
alignas(kPageBytes) uint32_t mmio_table[kTableEntries];

[[noreturn]] void Unexpected() {
  uint32_t cr2 = demo::ReadCr2();
  demo::Print("nano: unexpected exception, cr2 %x\n", cr2);
  demo::PowerOff(true);
  for (;;) {
  }
}

void FillTasks() {
  TaskState* const tasks[] = {&main_task, &other_task};
  for (TaskState* task : tasks) {
    task->esp0 = AddressOf(trap_stack + kStackBytes);
    task->ss0 = NANO_KERNEL_DATA;
    task->cr3 = AddressOf(spaces[0].directory);
    task->io_map_base = sizeof *task;  // beyond the limit: no port is open to CPL 3
  }
  other_task.eip = AddressOf(OtherTask);
  other_task.eflags = demo::eflags::kReserved1;
  other_task.esp = AddressOf(other_stack + kStackBytes);
  other_task.cs = NANO_KERNEL_CODE;
  other_task.ss = NANO_KERNEL_DATA;
  other_task.ds = other_task.es = other_task.fs = other_task.gs = NANO_USER_DATA;
}

uint32_t IdentityFlags(uint32_t address) {
  auto within = [address](const uint8_t* first, const uint8_t* end) {
    return address >= AddressOf(first) && address < AddressOf(end);
  };
  if (within(user_text_start, user_text_end)) return kPresent | kUser;
  if (within(user_data_start, user_data_end)) return kAll;
  return kPresent | kWritable;
}

}  // namespace

void SetGate(uint32_t vector, const void* handler, bool user) {
  idt[vector] = {uint32_t{NANO_KERNEL_CODE} << 16 | (AddressOf(handler) & 0xFFFF),
                 (AddressOf(handler) & 0xFFFF0000) | (user ? kUserGate : kInterruptGate)};
}

void InstallTables() {
  gdt[NANO_KERNEL_CODE / 8] = Segment(0, kWholeSpace, kKernelCode, kFlat);
  gdt[NANO_KERNEL_DATA / 8] = Segment(0, kWholeSpace, kKernelData, kFlat);
  gdt[NANO_USER_CODE / 8] = Segment(0, kWholeSpace, kUserCode, kFlat);
  gdt[NANO_USER_DATA / 8] = Segment(0, kWholeSpace, kUserData, kFlat);
  gdt[NANO_TSS / 8] = Segment(AddressOf(&main_task), sizeof main_task - 1, kTssAvailable, 0);
  gdt[NANO_OTHER_TSS / 8] = Segment(AddressOf(&other_task), sizeof other_task - 1, kTssAvailable, 0);
  FillTasks();
  for (uint32_t v = 0; v < kVectors; ++v) SetGate(v, reinterpret_cast<const void*>(&Unexpected), false);
  SetGate(0x80, HandleSystemCall, true);
  SetGate(0x81, HandleUserDone, true);
  SetGate(0x83, HandleYield, true);
  const demo::TableRegister gdtr{sizeof gdt - 1, AddressOf(gdt)}, idtr{sizeof idt - 1, AddressOf(idt)};
  demo::LoadTables<NANO_KERNEL_CODE>(gdtr, idtr, NANO_USER_DATA, NANO_KERNEL_DATA);
  asm volatile("ltr %w0" ::"r"(NANO_TSS) : "memory");
  demo::WriteMsr(demo::msr::kSysenterCs, NANO_KERNEL_CODE);
  demo::WriteMsr(demo::msr::kSysenterEsp, AddressOf(trap_stack + kStackBytes));
  demo::WriteMsr(demo::msr::kSysenterEip, AddressOf(HandleSysenter));
}

void EnablePaging() {
  for (uint32_t table = 0; table < kIdentityTables; ++table) {
    for (uint32_t i = 0; i < kTableEntries; ++i) {
      const uint32_t address = (table * kTableEntries + i) * kPageBytes;
      identity_tables[table][i] = address | IdentityFlags(address);
    }
  }
  mmio_table[0] = kMmioPhysical | kPresent | kWritable;
  for (AddressSpace& space : spaces) {
    for (uint32_t t = 0; t < kIdentityTables; ++t) space.directory[t] = AddressOf(identity_tables[t]) | kAll;
    space.directory[kUserRegion >> 22] = AddressOf(space.user_table) | kAll;
    space.directory[kMmio >> 22] = AddressOf(mmio_table) | kAll;
  }
  EnterSpace(0);
  demo::WriteCr4(demo::ReadCr4() | demo::cr4::kOsfxsr);
  demo::WriteCr0((demo::ReadCr0() | demo::cr0::kPg | demo::cr0::kWp | demo::cr0::kNe | demo::cr0::kMp) &
                 ~(demo::cr0::kEm | demo::cr0::kTs));
  asm volatile("fninit");
}

void EnterSpace(uint32_t index) {
  current_space = AddressOf(spaces[index].directory);
  other_space = AddressOf(spaces[1 - index].directory);
  demo::WriteCr3(current_space);
}

void MapUserPages(uint32_t index, uint32_t pages, uint32_t first_frame) {
  for (uint32_t i = 0; i < pages; ++i) spaces[index].user_table[i] = (kFrames + (first_frame + i) * kPageBytes) | kAll;
  demo::ReloadCr3();
}

void UnmapUserPages(uint32_t index) {
  for (uint32_t i = 0; i < kTableEntries; ++i) spaces[index].user_table[i] = 0;
  demo::ReloadCr3();
}

}  // namespace nano
