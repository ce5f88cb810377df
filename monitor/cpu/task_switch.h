// The task switch with all that interrupt delivery through a task gate adds to it.
#pragma once

#include <cstdint>
#include <optional>

#include "monitor/cpu/cpu.h"
#include "monitor/cpu/interrupts.h"

namespace ring3 {

struct TaskSwitchRequest {
  uint16_t selector;
  TaskSwitchSource source;
  uint32_t return_eip;
  uint32_t saved_eflags;               // goes to the old TSS
  uint32_t ext = 0;                    // EXT of the error codes raised on the way
  std::optional<uint32_t> error_code;  // pushed on the new task's stack
};

void SwitchTask(Cpu& cpu, const TaskSwitchRequest& request);

}  // namespace ring3
