#include "tests/kvm/comparison.h"

namespace ring3::kvm_test {

const std::vector<KnownDeviation>& KnownDeviations() {
  static const std::vector<KnownDeviation> known = {
      {"ltr", true, "exception: KVM #13\\(0000\\), ring3 #13\\(",
       "LTR with TI set: #GP has the selector (SDM 2A, LTR)"},
      {"access", false, "exception: KVM none, ring3 #13\\(0000\\)",
       "an access that wraps at 4 GiB may or may not fault (SDM 3A 5.3)"},
      {"mov from dr", true, "exception: KVM #13\\(0000\\), ring3 #6", "#UD comes before #GP (SDM 3A table 6-2)"},
      {"mov to dr", true, "exception: KVM #13\\(0000\\), ring3 #6", "#UD comes before #GP (SDM 3A table 6-2)"},
      {"mov from dr", true, "^ +\\[347fe\\]: KVM 00, ring3 01\n$",
       "general detect is a fault: RF is set in its frame (SDM 3B 17.3.1)"},
      {"mov to dr", true, "^ +\\[347fe\\]: KVM 00, ring3 01\n$",
       "general detect is a fault: RF is set in its frame (SDM 3B 17.3.1)"},
      {"mov to dr", true, "^ +dr7: KVM (\\w*)[c-f]00, ring3 \\1[4-7]00\n$",
       "DR7 bit 11 is reserved without RTM (SDM 3B 17.2.4)"},
      {"call code", true, "^ +\\[01[0-9a-f]{3}\\]: KVM (\\w)[13579bdf], ring3 \\1[02468ace]\n$",
       "a transfer that faults need not have set the accessed bit (SDM 3A 3.4.5.1)"},
      {"invlpg reg", true, "exception: KVM none, ring3 #6", "INVLPG has no register form (SDM 2A, INVLPG)"},
      {"invlpg reg", true, "exception: KVM #13\\(0000\\), ring3 #6", "#UD comes before #GP (SDM 3A table 6-2)"},
      {"real lidt", true, "exception: KVM none, ring3 #13",
       "the operand is six bytes with 16-bit size, too (SDM 2A, LIDT)"},
      {"short TSS", true, "exception: KVM none, ring3 #13\\(0000\\)",
       "two bytes of the I/O bitmap must be within the limit (SDM 1 19.5.2)"},
      {"real short IDT", true, "KVM none, ring3 #13",
       "vectors beyond the limit of the IDT are #GP in real mode, too (SDM 2A, INT n)"},
      {"real short IDT", true, "KVM stopped, ring3 shutdown",
       "the same, when #GP lies beyond the limit itself (SDM 3A 6.15)"},
      {"real odd SP", true, "KVM stopped, ring3 shutdown",
       "a push that wraps inside its operand shuts down (SDM 2B, PUSH)"},
  };
  return known;
}

const std::vector<Gap>& GapsOfInterpretingKvm() {
  static const std::vector<Gap> gaps = {
      {"gated exception", "delivers every exception with 32-bit frames, and without most checks (SDM 3A 6.12)"},
  };
  return gaps;
}

}  // namespace ring3::kvm_test
