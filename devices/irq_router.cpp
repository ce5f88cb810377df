#include "devices/irq_router.h"

namespace ring3 {

void IrqRouter::SetIrq(unsigned irq, bool level) {
  const auto bit = static_cast<uint16_t>(1u << irq);
  isa_ = static_cast<uint16_t>(level ? isa_ | bit : isa_ & ~bit);
  Update();
}

void IrqRouter::SetPirq(unsigned pirq, bool asserted) {
  const auto bit = static_cast<uint8_t>(1u << pirq);
  pirqs_ = static_cast<uint8_t>(asserted ? pirqs_ | bit : pirqs_ & ~bit);
  Update();
}

void IrqRouter::Route(unsigned pirq, std::optional<unsigned> irq) {
  routes_[pirq] = irq;
  Update();
}

void IrqRouter::Update() {
  uint16_t levels = isa_;
  for (unsigned pirq = 0; pirq < routes_.size(); ++pirq) {
    if (routes_[pirq] && (pirqs_ >> pirq & 1) != 0) levels |= static_cast<uint16_t>(1u << *routes_[pirq]);
  }
  const auto changed = static_cast<uint16_t>(levels ^ outputs_);
  outputs_ = levels;
  for (unsigned irq = 0; changed >> irq != 0; ++irq) {
    if ((changed >> irq & 1) == 0) continue;
    const bool level = (levels >> irq & 1) != 0;
    controllers_.SetIrq(irq, level);
    if (io_apic_) io_apic_->SetIrq(PinOf(irq), level);
  }
}

IrqState IrqRouter::GetIrqState(unsigned irq) const {
  const IrqState state = controllers_.GetIrqState(irq);
  return state == IrqState::kMasked && io_apic_ ? io_apic_->GetIrqState(PinOf(irq)) : state;
}

}  // namespace ring3
