#include "monitor/gdb/server.h"

#include <optional>

#include "monitor/control/guest_bytes.h"
#include "monitor/gdb/packets.h"
#include "monitor/gdb/stub.h"

namespace ring3::gdb {
namespace {

/// The running machine. vCPU thread.
class MachineTarget final : public Target {
 public:
  explicit MachineTarget(const ServerContext& context) : context_(context) {}

  CpuState ReadState() override { return Control().GetEngine().State(); }
  void WriteState(const CpuState& state) override { Control().GetEngine().SetState(state); }
  size_t ReadMemory(uint64_t address, bool physical, std::span<uint8_t> out) override {
    return ReadGuest(Control(), address, physical, out);
  }
  size_t WriteMemory(uint64_t address, bool physical, std::span<const uint8_t> data) override {
    return WriteGuest(Control(), address, physical, data);
  }
  void SetStops(const DebugStops& stops) override { Control().SetDebugStops(stops); }
  bool Running() override { return Control().Running(); }
  void Interrupt() override { Control().Pause(RunState::kDebug); }
  void Continue() override { Control().Resume(); }
  void Step(GuestLinear first, GuestLinear end) override { Control().Step(first, end); }
  void Kill() override { Control().Quit(); }
  std::string Monitor(const std::string& command) override { return context_.monitor(command); }

 private:
  MachineControl& Control() { return context_.control; }

  const ServerContext context_;
};

class GdbSession final : public Session, private ControlListener {
 public:
  GdbSession(const ServerContext& context, std::shared_ptr<Connection> connection)
      : context_(context),
        connection_(std::move(connection)),
        target_(context),
        reader_({.packet = [this](std::string_view payload) { Packet(payload); },
                 .damaged = [this] { Acknowledge("-"); },
                 .interrupt = [this] { context_.calls.Call([this] { stub_->Interrupt(); }); },
                 .refused = [this] { context_.calls.Call([this] { connection_->Send(sent_); }); }}) {
    context_.calls.Call([this] { Attach(); });
  }
  ~GdbSession() override {
    context_.calls.Call([this] { Detach(); });
  }

  void Receive(std::string_view bytes) override { reader_.Feed(bytes); }

 private:
  void Attach() {
    context_.control.AddListener(this);
    stub_.emplace(target_, [this](std::string_view payload) {
      sent_ = Frame(payload);
      connection_->Send(sent_);
    });
    if (context_.control.State() != RunState::kPaused) context_.control.Pause(RunState::kDebug);
  }
  void Detach() {
    context_.control.RemoveListener(this);
    stub_.reset();
    if (context_.control.State() != RunState::kPaused) context_.control.Resume();
  }
  void Packet(std::string_view payload) {
    Acknowledge("+");
    context_.calls.Call([&] {
      stub_->Packet(payload);
      acknowledges_ = stub_->Acknowledges();
      if (stub_->Detached()) connection_->Close();
    });
  }
  void Acknowledge(std::string_view sign) {
    if (acknowledges_) connection_->Send(sign);
  }

  void Stopped(const DebugEvent& event) override { stub_->Stopped(event); }
  void ShuttingDown(ShutdownCause, int exit_code) override { stub_->Exited(exit_code); }

  const ServerContext context_;
  const std::shared_ptr<Connection> connection_;
  MachineTarget target_;
  std::optional<Stub> stub_;  // the vCPU thread's
  std::string sent_;          // the last frame
  bool acknowledges_ = true;
  PacketReader reader_;
};

}  // namespace

std::unique_ptr<Session> MakeSession(const ServerContext& context, std::shared_ptr<Connection> connection) {
  return std::make_unique<GdbSession>(context, std::move(connection));
}

}  // namespace ring3::gdb
