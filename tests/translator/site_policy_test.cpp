// Which sites are demoted and promoted, by what they have spared and cost.
#include "translator/site_policy.h"

#include <catch2/catch.hpp>
#include <memory>

using namespace ring3;

TEST_CASE("sites: soft accesses weigh themselves against mappings and address-space switches") {
  constexpr GuestPhysical kSite(0x1000);
  constexpr SoftMove kMove{.kind = SoftKind::kLoad};
  SitePolicy policy;
  uint64_t switches = 100;
  const auto demote = [&] {
    unsigned mappings = 1;
    while (!policy.NoteUserAccess(kSite)) ++mappings;
    policy.DemoteForUserAccess(kSite, true, switches);
    REQUIRE(policy.SoftSiteFor(kSite, kMove, switches));
    return mappings;
  };
  /// How many accesses it takes, with so many between two switches.
  const auto accesses_to_promotion = [&](unsigned per_switch) {
    SoftSite& soft = policy.SoftSites()[*policy.SoftSiteFor(kSite, kMove, switches)];
    for (unsigned i = 1; i < 100'000; ++i) {
      if (i % per_switch == 0) ++switches;
      if (++soft.accesses > soft.limit && policy.NoteExecution(kSite, switches)) return i;
    }
    return 0u;
  };
  CHECK(demote() == 8);
  const unsigned first = accesses_to_promotion(1'000'000);
  CHECK(first != 0);
  CHECK(first < 100);
  CHECK(!policy.IsDemoted(kSite));
  CHECK(demote() == 8);
  CHECK(accesses_to_promotion(100) == 0);
  CHECK(policy.IsDemoted(kSite));
}

TEST_CASE("sites: each miss of a soft access speaks against promotion") {
  constexpr GuestPhysical kSite(0x1000);
  SitePolicy policy;
  policy.DemoteForUserAccess(kSite, true, 0);
  SoftSite& soft = policy.SoftSites()[*policy.SoftSiteFor(kSite, {.kind = SoftKind::kStore}, 0)];
  bool promoted = false;
  for (unsigned i = 0; i < 10'000; ++i) {
    ++soft.accesses;
    promoted |= policy.NoteExecution(kSite, 0);
  }
  CHECK(!promoted);
}

TEST_CASE("sites: a store where a load was does not make blocks of the load store") {
  constexpr GuestPhysical kSite(0x1000);
  constexpr SoftMove kLoad{.kind = SoftKind::kLoad}, kStore{.kind = SoftKind::kStore};
  SitePolicy policy;
  while (!policy.NoteFault(kSite)) {
  }
  const auto load = policy.SoftSiteFor(kSite, kLoad, 0), store = policy.SoftSiteFor(kSite, kStore, 0);
  REQUIRE(load);
  REQUIRE(store);
  CHECK(policy.SoftSites()[*load].move == kLoad);
  CHECK(policy.SoftSites()[*store].move == kStore);
  CHECK(policy.SoftSiteFor(kSite, kLoad, 0) == load);
}

TEST_CASE("sites: the site of a budget that is spent gets its mappings back, and one that spares faults does not") {
  constexpr GuestPhysical kSite(0x1000);
  for (const bool faults : {false, true}) {
    INFO("each step ends in a fault: " << faults);
    SitePolicy policy;
    while (!policy.NoteFault(kSite)) {
    }
    SoftBudget& budget = policy.SoftBudgets()[*policy.SoftSiteFor(kSite, {.kind = SoftKind::kLoad}, 0)];
    unsigned steps = 0;
    for (bool promoted = false; !promoted && steps < 10'000; ++steps) {
      budget.Spend(SoftBudget::kCallout);
      promoted = policy.NoteExecution(kSite, 0);
      if (faults) policy.NoteDemotedFault(kSite);
    }
    CHECK((steps < 1000) != faults);
  }
}

TEST_CASE("soft news: a site meets a page once, and again when the page faults or address spaces have come and gone") {
  constexpr uint32_t kSite = 7, kOther = 8, kPage = 0x1'2345;
  const auto news = std::make_unique<SoftNews>();
  CHECK(news->Meets(kSite, kPage, 0));
  CHECK_FALSE(news->Meets(kSite, kPage, 0));
  CHECK(news->Meets(kOther, kPage, 0));
  news->NoteFault(kPage);
  CHECK(news->Meets(kSite, kPage, 0));
  CHECK_FALSE(news->Meets(kSite, kPage, 10));
  CHECK(news->Meets(kSite, kPage, 1000));
}

TEST_CASE("soft news: sites that meet the same pages one after the other are told apart") {
  constexpr unsigned kPages = 10'000;
  const auto news = std::make_unique<SoftNews>();
  unsigned met = 0;
  for (uint32_t page = 0; page < kPages; ++page) {
    for (uint32_t site = 0; site < 3; ++site) met += news->Meets(site, page, 0);
  }
  CHECK(met > 3 * kPages / 2);
}

TEST_CASE("sites: one that reached a device gets another chance when memory appears") {
  constexpr GuestPhysical kSite(0x1000);
  SitePolicy policy;
  const auto demote = [&] {
    while (!policy.NoteEmulation(kSite)) {
    }
  };
  demote();
  CHECK_FALSE(policy.NoteExecution(kSite, 0));
  policy.MemoryAppeared();
  CHECK(policy.NoteExecution(kSite, 0));
  CHECK_FALSE(policy.IsDemoted(kSite));
  demote();
  CHECK_FALSE(policy.NoteExecution(kSite, 0));
}
