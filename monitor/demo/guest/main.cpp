// The demonstration kernel's main program: one section after another, then the summary and power-off.
#include "checks.h"
#include "console.h"
#include "descriptors.h"
#include "exceptions.h"
#include "fpu.h"
#include "identify.h"
#include "interrupts.h"
#include "paging.h"
#include "power.h"
#include "processes.h"
#include "runtime.h"
#include "selfmodify.h"
#include "sensitive.h"

namespace demo {
namespace {

void RunSections(bool quick) {
  InitInterrupts();
  DescribeDescriptorTables();
  EnablePaging();
  CheckPaging();
  EnableFpu();
  CheckFpu();
  CheckExceptions();
  CheckSensitive();
  CheckSelfModification();
  CheckInterrupts(quick);
  CheckProcesses(quick);
}

}  // namespace

extern "C" void GuestMain(uint32_t magic, uint32_t info_address) {
  const BootInfo info = ReadBootInfo(magic, info_address);
  InitConsole(HasWord(info.command_line, "e9"));
  InstallDescriptorTables();
  Print("What I can tell about my hardware\n");
  DescribeBoot(info);
  if (DescribeCpu()) {
    RunSections(HasWord(info.command_line, "checks=quick"));
  } else {
    Print("\nThe sections that follow need what is missing; they are left out.\n");
  }
  Tally tally = CurrentTally();
  Print("\nring3 demo: %u checks, %u differ\n", tally.checks, tally.differ);
  PowerOff(tally.differ != 0);
}

}  // namespace demo
