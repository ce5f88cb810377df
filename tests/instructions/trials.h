// Runs programs translated, natively and interpreted, and collects what differs.
#pragma once

#include <map>
#include <string>

#include "tests/translator/program.h"

namespace ring3 {

/// Which references a program is compared with.
enum class Reference : uint8_t {
  kNative,       // the processor alone
  kInterpreter,  // the slow path: what the processor cannot run for us (privilege, segments)
  kBoth,
};

class Trials {
 public:
  Trials();
  ~Trials();

  /// Compares one program as it stands.
  void Compare(const std::string& name, const Program& program, Reference reference, Ignore ignore = {});
  /// Assembles the code and compares it at CPL 3 and CPL 0 with registers from several seeds.
  void Try(const std::string& name, const std::function<void(asmjit::x86::Assembler&)>& write,
           Reference reference = Reference::kNative, Ignore ignore = {});
  /// The same for code given as bytes.
  void TryBytes(const std::string& name, const Bytes& code, Reference reference = Reference::kNative,
                Ignore ignore = {});

  /// For the programs that follow.
  unsigned seeds = 3;
  bool cpl0 = true, cpl3 = true;
  /// Changes each program that Try makes before it runs.
  std::function<void(Program&)> adjust;

  /// Fails the test case when something differed or fewer programs ran than expected.
  void Report(unsigned at_least) const;
  TestMachine& Translated() { return translated_; }

 private:
  void Note(const std::string& name, const char* reference, const Program& program, const std::string& difference);

  TestMachine translated_;
  TestMachine interpreted_{{.interpreter = true}};
  unsigned compared_ = 0, failed_ = 0;
  std::map<std::string, unsigned> failed_by_name_;
  std::string report_;
};

}  // namespace ring3
