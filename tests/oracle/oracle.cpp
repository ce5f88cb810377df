#include "tests/oracle/oracle.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>

#include "tests/oracle/oracle_protocol.h"

namespace ring3 {
namespace {

constexpr uint32_t kDefaultFcw = 0x37F, kDefaultMxcsr = 0x1F80;
constexpr unsigned kFcwOffset = 0, kMxcsrOffset = 24;

/// The process and the memory shared with it. One lives as long as the test program, unless it dies of a request.
class OracleProcess {
 public:
  OracleProcess();
  ~OracleProcess();
  OracleProcess(const OracleProcess&) = delete;
  OracleProcess& operator=(const OracleProcess&) = delete;

  OracleResult Run(const OracleState& initial);

 private:
  struct Placed {
    uint32_t address;
    size_t bytes;
    bool writable;
    bool operator==(const Placed&) const = default;
  };
  void Spawn();
  void CheckAddressSpace() const;
  void PlaceRegions(const OracleState& initial);
  void PlaceLdt(const OracleState& initial);
  void Exchange();
  uint8_t* Pool() const { return shared_ + oracle::kPoolOffset; }
  oracle::Control& Control() const { return *reinterpret_cast<oracle::Control*>(shared_); }

  int memory_fd_, socket_ = -1;
  uint8_t* shared_;
  pid_t pid_ = -1;
  std::vector<Placed> placed_;
  std::vector<LdtEntry> ldt_;
};

OracleProcess::OracleProcess() : memory_fd_(memfd_create("oracle", MFD_CLOEXEC)) {
  if (memory_fd_ < 0 || ftruncate(memory_fd_, oracle::kSharedBytes) != 0) throw std::runtime_error("oracle: no memory");
  void* shared = mmap(nullptr, oracle::kSharedBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd_, 0);
  if (shared == MAP_FAILED) throw std::runtime_error("oracle: no memory");
  shared_ = static_cast<uint8_t*>(shared);
  Control().layout = Control().ldt_version = 1;
  Spawn();
}

OracleProcess::~OracleProcess() {
  close(socket_);  // the process ends by itself
  close(memory_fd_);
  munmap(shared_, oracle::kSharedBytes);
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

void OracleProcess::Spawn() {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) throw std::runtime_error("oracle: no socket");
  // Descriptors that are neither of the two targets, so that one move cannot overwrite the other.
  const int memory = fcntl(memory_fd_, F_DUPFD_CLOEXEC, oracle::kSocketFd + 1);
  const int socket = fcntl(sockets[1], F_DUPFD_CLOEXEC, oracle::kSocketFd + 1);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, memory, oracle::kMemoryFd);
  posix_spawn_file_actions_adddup2(&actions, socket, oracle::kSocketFd);
  char name[] = RING3_ORACLE_PROCESS;
  char* const arguments[] = {name, nullptr};
  const int error = posix_spawn(&pid_, name, &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(memory);
  close(socket);
  close(sockets[1]);
  socket_ = sockets[0];
  if (error != 0) throw std::runtime_error(std::string("oracle: cannot start ") + name + ": " + std::strerror(error));
}

/// Anything below 4 GiB that is not the test's would be seen by the code under test.
void OracleProcess::CheckAddressSpace() const {
  std::ifstream maps("/proc/" + std::to_string(pid_) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const uint64_t address = std::stoull(line, nullptr, 16);
    if (address >> 32) continue;
    bool wanted = false;
    for (const Placed& p : placed_) wanted |= address >= p.address && address < p.address + uint64_t{p.bytes};
    if (!wanted) throw std::runtime_error("oracle: the process has memory of its own below 4 GiB: " + line);
  }
}

void OracleProcess::PlaceRegions(const OracleState& initial) {
  std::vector<Placed> placed;
  for (const OracleRegion& r : initial.regions) placed.push_back({r.address, r.bytes.size(), r.writable});
  oracle::Control& control = Control();
  if (placed.size() > oracle::kMaxRegions) throw std::runtime_error("oracle: too many regions");
  uint32_t offset = oracle::kPoolOffset;
  for (size_t i = 0; i < placed.size(); ++i) {
    const auto bytes = static_cast<uint32_t>(placed[i].bytes);
    if (offset + bytes > oracle::kSharedBytes) throw std::runtime_error("oracle: regions too large");
    control.regions[i] = {placed[i].address, bytes, offset, placed[i].writable};
    std::memcpy(shared_ + offset, initial.regions[i].bytes.data(), bytes);
    offset += bytes;
  }
  control.region_count = static_cast<uint32_t>(placed.size());
  if (placed != placed_) ++control.layout;
  placed_ = std::move(placed);
}

void OracleProcess::PlaceLdt(const OracleState& initial) {
  if (initial.ldt == ldt_) return;
  if (initial.ldt.size() > oracle::kMaxLdt) throw std::runtime_error("oracle: too many descriptors");
  oracle::Control& control = Control();
  for (uint32_t i = 0; i < initial.ldt.size(); ++i) {
    const LdtEntry& e = initial.ldt[i];
    // Bits of struct user_desc: seg_32bit, contents, read_exec_only, limit_in_pages, seg_not_present.
    const uint32_t flags =
        e.big | static_cast<uint32_t>(e.kind) << 1 | e.read_only << 3 | e.pages << 4 | !e.present << 5;
    control.ldt[i] = {i, e.base, e.limit, flags};
  }
  control.ldt_count = static_cast<uint32_t>(initial.ldt.size());
  ++control.ldt_version;
  ldt_ = initial.ldt;
}

void OracleProcess::Exchange() {
  char byte = 0;
  if (send(socket_, &byte, 1, MSG_NOSIGNAL) == 1) {
    ssize_t got;
    do {
      got = recv(socket_, &byte, 1, 0);
    } while (got < 0 && errno == EINTR);
    if (got == 1) return;
  }
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
  close(socket_);
  Spawn();
  placed_.clear();
  ldt_.clear();
  Control().layout += 2;
  Control().ldt_version += 2;
  throw std::runtime_error("oracle: the process that asks the processor died of this request");
}

OracleResult OracleProcess::Run(const OracleState& initial) {
  oracle::Control& control = Control();
  const uint32_t layout = control.layout;
  PlaceRegions(initial);
  PlaceLdt(initial);
  std::memcpy(control.gpr, initial.gpr.data(), sizeof control.gpr);
  std::memcpy(control.fxsave, initial.fxsave.data(), sizeof control.fxsave);
  std::memcpy(control.ymm_high, initial.ymm_high.data(), sizeof control.ymm_high);
  std::memcpy(control.selectors, initial.selectors.data(), sizeof control.selectors);
  control.eip = initial.eip;
  control.eflags = initial.eflags;
  Exchange();
  if (control.refused) {
    placed_.clear();
    ldt_.clear();
    throw std::runtime_error(std::string("oracle: the host refuses: ") +
                             std::strerror(static_cast<int>(control.refused)));
  }
  if (layout != control.layout) CheckAddressSpace();

  OracleResult result;
  OracleState& state = result.state;
  std::memcpy(state.gpr.data(), control.gpr, sizeof control.gpr);
  std::memcpy(state.fxsave.data(), control.fxsave, sizeof control.fxsave);
  std::memcpy(state.ymm_high.data(), control.ymm_high, sizeof control.ymm_high);
  std::memcpy(state.selectors.data(), control.selectors, sizeof control.selectors);
  state.eip = control.eip;
  state.eflags = control.eflags;
  state.ldt = initial.ldt;
  result.vector = control.vector;
  result.error_code = control.error_code;
  result.cr2 = control.cr2;
  result.timed_out = control.timed_out;
  for (size_t i = 0; i < placed_.size(); ++i) {
    const uint8_t* from = shared_ + control.regions[i].offset;
    state.regions.push_back({placed_[i].address, {from, from + placed_[i].bytes}, placed_[i].writable});
  }
  return result;
}

}  // namespace

OracleState::OracleState() {
  fxsave.fill(0);
  std::memcpy(&fxsave[kFcwOffset], &kDefaultFcw, sizeof(uint16_t));
  std::memcpy(&fxsave[kMxcsrOffset], &kDefaultMxcsr, sizeof kDefaultMxcsr);
}

OracleResult RunOracle(const OracleState& initial) {
  static OracleProcess process;
  return process.Run(initial);
}

}  // namespace ring3
