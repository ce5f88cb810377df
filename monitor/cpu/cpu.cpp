#include "monitor/cpu/cpu.h"

namespace ring3 {

void Cpu::PagingChanged() {
  const PagingState paging = PagingState::From(state, a20_enabled);
  memory.SetPaging(paging);
  mmu.SetPaging(paging);
}

void Cpu::Cr3Loaded() {
  const PagingState paging = PagingState::From(state, a20_enabled);
  memory.SetPaging(paging);
  mmu.LoadCr3(paging);
}

}  // namespace ring3
